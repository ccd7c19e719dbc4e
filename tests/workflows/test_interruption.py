import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.synthetic import write_dataset

TINY = ["--set", "base_filters=4", "max_levels=3", "steps_per_epoch=2", "--threads", "1"]
ENDLESS = ["--epochs", "1000000"]


def events(run, kind):
    log = run / "log.jsonl"
    lines = log.read_text().splitlines(keepends=True) if log.is_file() else []
    return [e for e in (json.loads(line) for line in lines if line.endswith("\n")) if e["event"] == kind]


def train(data, run, *more):
    words = [sys.executable, "-m", "decaseg", "train", str(data), "--out", str(run), *TINY, *more]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def interrupted(data, run, number, wanted="epoch"):
    """Starts a training, sends it the signal once the log shows what is `wanted`; returns exit code and errors."""
    process = train(data, run, *ENDLESS)
    try:
        deadline = time.monotonic() + 300
        while not events(run, wanted) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(process.pid, number)
        _, errors = process.communicate(timeout=300)
    finally:
        process.kill()
    return process.returncode, errors


def finish(data, run):
    """Trains three epochs more than the log tells of."""
    epochs = events(run, "epoch")[-1]["step"] // 2 + 3
    process = train(data, run, "--resume", "--epochs", str(epochs))
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert (run / "weights.safetensors").is_file()
    assert events(run, "end")[-1]["step"] == 2 * epochs


@pytest.fixture
def data(tmp_path):
    return write_dataset(tmp_path / "data", cases=3)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_polite_signal_saves_and_resume_ends_the_training(data, tmp_path, number):
    run = tmp_path / "run"
    code, errors = interrupted(data, run, number)
    assert code == 130, errors
    assert "Traceback" not in errors and "--resume" in errors
    assert (run / "checkpoints" / "last.pt").is_file()
    stopped = events(run, "stop")[-1]["step"]
    assert stopped > 0
    if number == signal.SIGINT:
        refuses_to_start_anew(data, run)
    finish(data, run)
    assert events(run, "resume")[-1]["step"] == stopped


def refuses_to_start_anew(data, run):
    again = train(data, run, *ENDLESS)  # without --resume: refused, and nothing is lost
    _, errors = again.communicate(timeout=300)
    assert again.returncode == 2 and "--resume" in errors and "Traceback" not in errors


def test_after_kill_9_the_training_can_be_resumed(data, tmp_path):
    run = tmp_path / "run"
    code, _ = interrupted(data, run, signal.SIGKILL)
    assert code == -signal.SIGKILL
    finish(data, run)
