"""Trainings that are really killed, and disks that are really full. The 20 kills are in benchmarks/nothing-lost."""

import errno
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from decaseg.cli import call
from decaseg.storage.lock import held
from decaseg.storage.rundir import RunDir
from tests.storage.small_disk import small_disk
from tests.synthetic import write_dataset

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "nothing-lost" / "kill.py"
TINY = ["--set", "base_filters=4", "max_levels=2", "steps_per_epoch=4", "validation_cases=1", "--threads", "1"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data"), cases=3)


def test_killed_and_resumed_equals_left_alone_to_the_last_bit(data, tmp_path):
    words = [
        sys.executable,
        str(SCRIPT),
        str(data),
        "--kills",
        "2",
        "--epochs",
        "6",
        "--keep",
        str(tmp_path),
        "--train",
        "--threads",
        "1",
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=500)
    assert '"bits_differ": []' in done.stdout, done.stdout + done.stderr


def test_the_comparison_would_notice_a_lost_random_state():
    spec = importlib.util.spec_from_file_location("kill", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    one = {"model": {"w": script.torch.zeros(3)}, "random": {"cpu": script.torch.zeros(4)}, "elapsed_s": 1.0}
    other = {"model": {"w": script.torch.zeros(3)}, "random": {"cpu": script.torch.ones(4)}, "elapsed_s": 2.0}
    assert script.differences(one, one | {"elapsed_s": 9.0}) == []
    assert script.differences(one, other) == ["/random/cpu"]


def test_a_run_has_one_owner_and_what_a_kill_left_is_swept(data, tmp_path, capsys):
    run = RunDir(tmp_path / "run")
    assert call(["train", str(data), "--out", str(run.root), "--epochs", "1", *TINY]) == 0
    with held(run.lock):
        assert call(["train", str(data), "--out", str(run.root), "--epochs", "2", "--resume"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "another process is training there" in error and "--out" in error
    left = run.checkpoint.parent / ".last.0123abcd.tmp.pt"
    left.write_bytes(b"half")
    mine = run.checkpoint.parent / ".notes.tmp"
    mine.write_text("not ours")
    assert call(["train", str(data), "--out", str(run.root), "--epochs", "2", "--resume"]) == 0
    assert not left.exists() and mine.exists()


def test_a_damaged_checkpoint_is_told_in_a_line_and_the_one_before_serves(data, tmp_path, capsys):
    run = RunDir(tmp_path / "run")
    words = ["train", str(data), "--out", str(run.root), *TINY, "--set", "checkpoint_minutes=0", "--epochs", "2"]
    assert call(words) == 0
    whole = run.checkpoint.read_bytes()
    run.checkpoint.unlink()
    run.checkpoint.write_bytes(whole[: len(whole) // 2])
    capsys.readouterr()
    assert call([*words, "--resume"]) == 0
    told = capsys.readouterr().err
    assert "last.pt: is damaged" in told and "going on from the checkpoint before it, of step 8" in told


def test_deterministic_with_a_budget_in_minutes_says_what_it_is_not(data, tmp_path, capsys):
    assert call(["train", str(data), "--out", f"{tmp_path}/run", *TINY, "--minutes", "0.01", "--deterministic"]) == 0
    assert "for equal weights give --epochs" in capsys.readouterr().err


def test_a_full_disk_ends_the_preparation_with_one_line(data, tmp_path, capsys):
    with small_disk(tmp_path / "disk", 64) as disk:
        words = ["train", str(data), "--out", f"{tmp_path}/run", "--cache", str(disk), *TINY, "--epochs", "1"]
        assert call(words) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert str(disk) in error and "No space left" in error and not list(disk.glob(".*"))


def test_a_disk_that_fills_up_while_training_loses_no_training(data, tmp_path):
    with small_disk(tmp_path / "disk", 4096) as disk:
        run = RunDir(disk / "run")
        words = [sys.executable, "-m", "decaseg", "train", str(data), "--out", str(run.root), *TINY,
                 "--cache", str(tmp_path / "cache"), "--set", "checkpoint_minutes=0", "--epochs", "100000"]  # fmt: skip
        said = tmp_path / "said.txt"  # a pipe would be full after some hundred epochs, and stop it
        with said.open("wb") as errors:
            process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=errors)
        try:
            wait_for(process, lambda: count(run, "checkpoint") > 2)
            filler = disk / "filler"
            fill(filler)
            before = failures(said)
            wait_for(process, lambda: failures(said) > before)
            sound = run.checkpoint.read_bytes()
            wait_for(process, lambda: failures(said) > before + 2)  # trains on, cannot save
            assert run.checkpoint.read_bytes() == sound
            filler.unlink()
            seen = count(run, "checkpoint")
            wait_for(process, lambda: count(run, "checkpoint") > seen + 2)
            assert count(run, "checkpoint_failed") > 0  # the log had waited too
            fill(filler)
            process.terminate()
            process.wait(300)
        finally:
            process.kill()
        told = said.read_text()
        assert process.returncode == 2 and "Traceback" not in told
        assert "No space left" in told.splitlines()[-1] and "could not be written" in told.splitlines()[-1]
        filler.unlink()
        steps = [e["step"] for e in run.events() if e["event"] == "checkpoint"]
        from decaseg.training.checkpoint import load_checkpoint

        assert load_checkpoint(run.checkpoint, run.previous_checkpoint)["step"] >= steps[-1] > 0


def fill(path):
    """Fills a disk, also with what a checkpoint that could not be written gives back."""
    idle = 0
    with path.open("ab", buffering=0) as file:
        while idle < 8:
            try:
                file.write(os.urandom(4096))
                idle = 0
            except OSError as error:
                assert error.errno == errno.ENOSPC
                idle += 1
                time.sleep(0.05)


def failures(said):
    return said.read_text().count("training goes on")


def count(run, kind):
    return sum(event["event"] == kind for event in run.events())


def wait_for(process, condition):
    deadline = time.monotonic() + 300
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
