"""Ranks that freeze, a launcher that dies: the training ends with an error or its state saved, and nobody stays behind.

A rank that dies, and SIGTERM to a rank: tests/workflows/test_torchrun.py. SIGTERM and SIGINT to a training of one
process: test_interruption.py there. The server's process that holds the model: tests/serving.
"""

import os
import signal
import time
from pathlib import Path

import pytest

from decaseg.storage.rundir import RunDir
from decaseg.training.checkpoint import load_checkpoint
from tests.faults.ranks import LAUNCHER
from tests.faults.works import TRAIN

LONG = [*TRAIN, "--batch-size", "2", "--precision", "fp32"]


@pytest.fixture
def launched(made, warm, tmp_path):
    """A training of two ranks that has begun: its RUN, launcher, ranks, and the file with what they said."""
    run, said, pids = RunDir(tmp_path / "run"), tmp_path / "said.txt", tmp_path / "pids"
    words = ["train", f"{made.root}/data", "--out", str(run.root), *LONG, "--epochs", "1000000"]
    times = {"SILENCE_S": 10.0, "BEAT_S": 0.5, "GRACE_S": 120.0}
    quick = {f"decaseg.training.heartbeat:{name}": value for name, value in times.items()}
    launcher = warm.start([str(pids), "2", *words], said, call=LAUNCHER, patch=quick)
    wait_until(pids.exists)
    ranks = [int(word) for word in pids.read_text().split()]
    wait_until(lambda: any(e["event"] == "epoch" for e in run.events()) or not alive(ranks))
    assert len(alive(ranks)) == 2, said.read_text()
    yield run, launcher, ranks, said
    for process in ranks:
        if alive([process]):
            os.kill(process, signal.SIGKILL)
    warm.wait(launcher)


@pytest.mark.parametrize("frozen", [0, 1])
def test_a_frozen_rank_ends_the_training_and_is_ended(launched, frozen):
    run, _, ranks, said = launched
    os.kill(ranks[frozen], signal.SIGSTOP)
    wait_until(lambda: not alive(ranks))
    told = [line for line in said.read_text().splitlines() if line.startswith("decaseg: ")]
    assert len(told) == 1 and f"process {frozen + 1} of 2" in told[0] and "--resume" in told[0], said.read_text()
    assert load_checkpoint(run.checkpoint, run.previous_checkpoint)["step"] > 0


def test_ranks_whose_launcher_was_killed_save_and_go(launched):
    run, launcher, ranks, _ = launched
    os.kill(launcher, signal.SIGKILL)
    wait_until(lambda: not alive(ranks))
    stopped = [e["step"] for e in run.events() if e["event"] == "stop"]
    assert stopped and load_checkpoint(run.checkpoint, run.previous_checkpoint)["step"] == stopped[-1]


def alive(processes):
    """Those that are there and no corpses."""
    there = []
    for process in processes:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        there += [process] if state not in "ZX" else []
    return there


def wait_until(condition):
    """Five minutes are for the busiest machine; how soon it is: benchmarks/faults."""
    deadline = time.monotonic() + 300
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()
