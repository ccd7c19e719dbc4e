import struct

import numpy as np
import pytest

from decaseg.training import monitor
from decaseg.training.loop import Budget
from decaseg.training.monitor import TensorBoard, TrainingLine, duration

EPOCH = {"event": "epoch", "epoch": 3, "step": 30, "train_loss": 0.5, "lr": 1e-3, "samples_per_s": 12.34,
         "wait_share": 0.07, "elapsed_s": 60.0}  # fmt: skip
VALIDATION = {"event": "validation", "step": 30, "elapsed_s": 66.0, "mean_dice": 0.75, "dice": {"a": 0.8, "b": 0.7}}


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test winds: `clock[0]` is the time."""
    now = [100.0]
    monkeypatch.setattr(monitor.time, "monotonic", lambda: now[0])
    return now


def test_a_line_an_epoch_says_loss_rate_pace_waiting_and_time_left(clock, capsys):
    line = TrainingLine(Budget(10, 10))
    line.on_step(1, 0.9, 0.01, 0.0)
    clock[0] += 58
    line.on_step(30, 0.5, 0.30, 0.0)  # 29 % took 58 s, so 70 % take 140 s
    line.on_event(EPOCH)
    said = capsys.readouterr().err
    for words in ("epoch    3", "30%", "loss 0.5000", "lr 1.0e-03", "12.3 samples/s", "waiting for data 7%",
                  "2 min 20 s left"):  # fmt: skip
        assert words in said


def test_a_slow_epoch_says_every_half_minute_how_far_it_is(clock, capsys):
    line = TrainingLine(Budget(10, 1000))
    for step in range(1, 66):
        clock[0] += 1
        line.on_step(step, 0.5, step / 1000, 0.0)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and "step 30 (3%)" in said[0] and "loss 0.5000" in said[0]
    assert "step 60 (6%)" in said[1] and "15 min 40 s left" in said[1]  # 59 steps took 59 s


def test_the_loss_between_epochs_is_the_mean_of_the_first_steps_and_then_follows(clock, capsys):
    line = TrainingLine(Budget(1000, 1000))
    for step, loss in enumerate([3.0, 2.0, 1.0], start=1):
        clock[0] += 31
        line.on_step(step, loss, step / 1000, 0.0)
    assert [text.split()[4] for text in capsys.readouterr().err.splitlines()] == ["3.0000", "2.5000", "2.0000"]
    for step in range(4, 200):
        clock[0] += 31
        line.on_step(step, 0.5, step / 1000, 0.0)
    assert "loss 0.5000" in capsys.readouterr().err.splitlines()[-1]


def test_a_resumed_training_is_not_credited_with_what_was_done_before(clock, capsys):
    line = TrainingLine(Budget(10, 10))
    line.on_step(51, 0.9, 0.50, 0.0)
    clock[0] += 10
    line.on_step(60, 0.5, 0.60, 0.0)  # a tenth took 10 s, four are left
    line.on_event(EPOCH)
    assert "40 s left" in capsys.readouterr().err


def test_a_budget_in_minutes_knows_what_is_left(clock, capsys):
    line = TrainingLine(Budget(10, 10, seconds=600))
    line.on_step(1, 0.9, 0.25, 0.0)
    line.on_event(EPOCH)
    assert "7 min 30 s left" in capsys.readouterr().err


def test_in_a_terminal_a_bar_shows_the_same(clock, capsys, monkeypatch):
    monkeypatch.setattr(monitor.sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "250")
    line = TrainingLine(Budget(10, 10, seconds=600))
    for event in (EPOCH, VALIDATION):
        line.on_step(1, 0.9, 0.25, 0.0)
        line.on_event(event)
    line.on_step(2, 0.9, 0.5, 0.0)
    line._bar.refresh()
    line.close()
    said = capsys.readouterr().err
    assert "5 min 0 s left" in said and "loss 0.900" in said and "12.3 samples/s" in said
    assert "Dice 0.750 (a 0.800, b 0.700)" in said and "waiting for data 7%" in said


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"), (90000, "1 d 1 h")]
)
def test_durations_are_for_people(seconds, words):
    assert duration(seconds) == words


def test_tensorboard_holds_scalars_and_the_picture(tmp_path):
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board = TensorBoard(tmp_path)
    for event in (EPOCH, VALIDATION):
        board(event)
    board.show(30, "case_001", np.full((20, 30, 3), 7, np.uint8))
    board({"event": "end"})
    found = loader.EventAccumulator(str(tmp_path))
    found.Reload()
    assert found.Scalars("train/train_loss")[0].value == 0.5
    assert found.Scalars("validation_dice/b")[0].value == pytest.approx(0.7)
    shown = found.Images("validation/case_001")[0]
    assert shown.step == 30 and shown.encoded_image_string[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", shown.encoded_image_string[16:24]) == (30, 20)
