"""Two at once on one RUN, one cache, one folder; locks that dead processes left. Downloads: test_download_faults.py."""

import os
import signal

import pytest

from decaseg.storage.files import read_json
from decaseg.storage.rundir import RunDir
from tests.faults.test_processes import wait_until
from tests.faults.trials import fresh
from tests.faults.works import TRAIN, contents, hidden

ROUNDS = 2


def test_a_second_training_is_refused_before_it_reads_or_writes_anything(made, warm, tmp_path):
    run, said = RunDir(tmp_path / "run"), tmp_path / "said.txt"
    words = ["train", f"{made.root}/data", "--out", str(run.root), *TRAIN]
    first = warm.start([*words, "--epochs", "1000000"], tmp_path / "first.txt")
    try:
        wait_until(lambda: any(e["event"] == "epoch" for e in run.events()))
        before = {path.name: path.read_bytes() for path in run.root.glob("*.json")}
        unread = ["train", f"{tmp_path}/no-data", *words[2:]]  # were it read, that would be what is told
        for more in ([], ["--seed", "5"], ["--resume"]):
            assert warm.run([*unread, *more], said) == 2
            assert "another process is training there" in said.read_text()
        assert {path.name: path.read_bytes() for path in run.root.glob("*.json")} == before
    finally:
        os.kill(first, signal.SIGKILL)
        warm.wait(first)
    assert run.lock.exists() and warm.run([*words, "--resume"], said) == 0, said.read_text()  # a stale lock is none


def test_of_two_trainings_that_start_at_once_one_trains_what_its_run_says(made, warm, tmp_path):
    for number in range(ROUNDS):
        run = RunDir(tmp_path / f"run-{number}")
        words = ["train", f"{made.root}/data", "--out", str(run.root), *TRAIN, "--seed"]
        pair = [warm.start([*words, str(seed)], tmp_path / f"{seed}.txt") for seed in (1, 2)]
        codes = [warm.wait(child) for child in pair]
        assert sorted(codes) == [0, 2], [(tmp_path / f"{seed}.txt").read_text() for seed in (1, 2)]
        assert read_json(run.recipe)["seed"] == read_json(run.provenance)["seed"] == codes.index(0) + 1


@pytest.mark.parametrize("name", ["preprocess", "predict", "evaluate", "pictures", "export"])
def test_two_at_once_on_one_folder_share_it_or_one_is_refused(made, warm, tmp_path, name):
    work, folder = made.works[name], tmp_path / "out"
    for _ in range(ROUNDS):
        pair = [work.start(warm, fresh(folder), tmp_path / "0.txt"), work.start(warm, folder, tmp_path / "1.txt")]
        codes = [warm.wait(child) for child in pair]
        told = [(tmp_path / f"{number}.txt").read_text() for number in (0, 1)]
        shares = name in ("preprocess", "predict")
        assert sorted(codes) in ([[0, 0]] if shares else [[0, 0], [0, 2]]), told
        assert all("another process is writing there" in told[number] for number in (0, 1) if codes[number] == 2)
        assert contents(folder) == made.whole[name] and hidden(folder) == [], told
