"""`torchrun -m decaseg train` with two real processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from decaseg.cli import call
from tests.synthetic import write_dataset

TINY = ["--set", "base_filters=4", "max_levels=3", "steps_per_epoch=4", "validation_cases=3", "schedule=constant",
        "checkpoint_minutes=600", "--batch-size", "3", "--threads", "1", "--deterministic", "--val-fraction", "0.5",
        "--precision", "fp32"]  # fmt: skip


def events(run, kind):
    log = run / "log.jsonl"
    lines = log.read_text().splitlines(keepends=True) if log.is_file() else []
    return [e for e in (json.loads(line) for line in lines if line.endswith("\n")) if e["event"] == kind]


def torchrun(*words):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "decaseg", "train", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process):
    output, errors = process.communicate(timeout=300)
    return process.returncode, output, errors


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """`data`; `one`: three epochs of one process; `two`: the first of them by two processes."""
    root = tmp_path_factory.mktemp("torchrun")
    write_dataset(root / "data", cases=6)
    common = [f"{root}/data", *TINY, "--cache", f"{root}/cache"]
    assert call(["train", *common, "--out", f"{root}/one", "--epochs", "3"]) == 0
    code, output, errors = finished(torchrun(*common, "--out", root / "two", "--epochs", "1"))
    assert code == 0, errors
    assert output.count("trained 4 steps") == 1 and errors.count("epoch    1") == 1  # one of them speaks
    return root


def losses(run):
    return [event["train_loss"] for event in events(run, "epoch")]


def scores(run):
    return [score for event in events(run, "validation") for score in event["dice"].values()]


def test_two_processes_that_share_batches_of_three_train_as_one_does(root):
    assert events(root / "two", "start")[0]["processes"] == 2
    assert losses(root / "two") == pytest.approx(losses(root / "one")[:1], rel=1e-4)
    assert scores(root / "two") == pytest.approx(scores(root / "one")[:2], abs=0.01)


def test_one_goes_on_where_two_were_and_two_where_one_was_until_one_is_killed(root):
    run = root / "two"
    words = [f"{root}/data", *TINY, "--cache", f"{root}/cache", "--out", f"{run}", "--resume"]
    assert call(["train", *words, "--epochs", "2"]) == 0
    before = torch.load(run / "checkpoints" / "last.pt", weights_only=True)
    process = torchrun(*words, "--epochs", "100000")
    try:
        wait_for(process, lambda: len(events(run, "epoch")) > 3)
        os.kill(workers(process)[1], signal.SIGKILL)
        code, _, errors = finished(process)
    finally:
        process.kill()
    assert code != 0
    assert "decaseg: another process of this training ended" in errors and "--resume" in errors
    assert [event["step"] for event in events(run, "resume")] == [4, 8]
    assert losses(run)[:3] == pytest.approx(losses(root / "one"), rel=1e-4)
    after = torch.load(run / "checkpoints" / "last.pt", weights_only=True)
    assert after["step"] == before["step"] == 8  # the next would have come after hours
    assert all(torch.equal(after["model"][name], value) for name, value in before["model"].items())


def test_a_signal_to_one_process_stops_both_at_a_step_and_saves(root):
    run = root / "stopped"
    process = torchrun(root / "data", *TINY, "--cache", root / "cache", "--out", run, "--epochs", "100000")
    try:
        wait_for(process, lambda: events(run, "epoch"))
        os.kill(workers(process)[1], signal.SIGTERM)
        code, _, errors = finished(process)
    finally:
        process.kill()
    assert code != 0 and errors.count("the state is saved") == 1, errors
    step = events(run, "stop")[-1]["step"]
    assert torch.load(run / "checkpoints" / "last.pt", weights_only=True)["step"] == step
    assert (run / "weights.safetensors").is_file()


def test_a_batch_with_fewer_patches_than_processes_is_refused_once_and_nothing_is_written(root):
    code, _, errors = finished(torchrun(root / "data", "--out", root / "none", "--batch-size", "1"))
    assert code != 0 and errors.count("decaseg: --batch-size 1: cannot be shared by 2 processes") == 1, errors
    assert not (root / "none" / "plan.json").exists()


def wait_for(process, condition):
    deadline = time.monotonic() + 300
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert process.poll() is None and condition()


def workers(process):
    """Process numbers of the training processes, by rank."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    ranks = {}
    for child in children:
        environment = Path(f"/proc/{child}/environ").read_text().split("\0")
        ranks.update({int(word[5:]): int(child) for word in environment if word.startswith("RANK=")})
    return ranks
