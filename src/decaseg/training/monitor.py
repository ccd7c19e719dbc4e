"""What a person sees of a training: a line that moves, and TensorBoard where it is installed."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from functools import cache as once
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decaseg.training.loop import Budget

LINE_EVERY_S = 30.0  # elsewhere than in a terminal, at the least


class TrainingLine:
    """Progress on standard error: a bar in a terminal; elsewhere a line an epoch, and some between slow ones."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._bar: Any = None
        self._task: Any = None
        self._dice = ""
        self._pace = ""
        self._loss, self._losses = 0.0, 0
        self._share = 0.0
        self._first_share: float | None = None
        self._started = self._printed = time.monotonic()

    def on_step(self, step: int, loss: float, share_done: float, wait_s: float) -> None:
        """Called after each step with the share of the budget that is spent."""
        self._share = share_done
        if self._first_share is None:  # a resumed training begins in the middle, a first step may be slow
            self._first_share, self._started = share_done, time.monotonic()
        self._losses += 1  # the mean of the first twenty, then a moving one
        self._loss += (loss - self._loss) * max(0.05, 1 / self._losses)
        if sys.stderr.isatty():
            if self._bar is None:
                self._open_bar()
            words = f"loss {self._loss:.3f}{self._pace}{self._dice}"
            self._bar.update(self._task, completed=min(share_done, 1.0), left=self._left(), words=words)
        elif time.monotonic() - self._printed >= LINE_EVERY_S:
            self._print(f"  step {step} ({min(share_done, 1):.0%})  loss {self._loss:.4f}{self._still()}")

    def on_event(self, event: dict[str, Any]) -> None:
        """Called with each event of the log."""
        if event["event"] == "validation":
            parts = ", ".join(f"{name} {value:.3f}" for name, value in event["dice"].items())
            self._dice = f"  Dice {event['mean_dice']:.3f} ({parts})"
            self._print(
                f"  validation after {event['elapsed_s'] / 60:.1f} min: mean Dice {event['mean_dice']:.3f} ({parts})"
            )
        elif event["event"] == "checkpoint_failed":
            kept = "there is none yet" if event["kept"] is None else f"the one of step {event['kept']} stays"
            self._print(f"no checkpoint of step {event['step']} ({event['error']}); {kept}; training goes on")
        elif event["event"] == "epoch":
            pace = f"{event['samples_per_s']:.1f} samples/s  waiting for data {event['wait_share']:.0%}"
            self._pace = f"  {pace}"
            self._print(
                f"epoch {event['epoch']:4d} ({min(self._share, 1):4.0%})  step {event['step']:6d}  "
                f"loss {event['train_loss']:.4f}  lr {event['lr']:.1e}  {pace}{self._still()}"
            )

    def _still(self) -> str:
        left = self._left()
        return f"  {left} left" if left else ""

    def _left(self) -> str:
        """The time left, from what the share of the budget spent since the start of this command took."""
        if self.budget.seconds is not None:
            return duration(max(0.0, (1 - self._share) * self.budget.seconds))
        spent = self._share - (self._first_share or 0.0)
        if spent <= 0 or self._share >= 1:
            return ""
        return duration((time.monotonic() - self._started) * (1 - self._share) / spent)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _print(self, text: str) -> None:
        self._printed = time.monotonic()
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def _open_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        columns = (
            TextColumn("training"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[left]} left"),
            TextColumn("{task.fields[words]}", markup=False),
        )
        self._bar = Progress(*columns, console=Console(stderr=True))
        self._task = self._bar.add_task("training", total=1.0, left="", words="")
        self._bar.start()


def duration(seconds: float) -> str:
    """A time for people.

    >>> duration(42), duration(200), duration(7300), duration(200000)
    ('42 s', '3 min 20 s', '2 h 2 min', '2 d 8 h')
    """
    whole = round(seconds)
    for unit, size, below, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // part} {below}"
    return f"{whole} s"


class TensorBoard:
    """Writes scalars of epochs and validations, and pictures; does nothing where tensorboard is not installed."""

    def __init__(self, folder: Path) -> None:
        self._writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        try:
            _hush_writer_threads()
            self._writer = SummaryWriter(str(folder))
        except OSError as error:
            print(f"no TensorBoard events ({error})", file=sys.stderr)

    @property
    def writes(self) -> bool:
        """Is there anyone to show pictures to?"""
        return self._writer is not None

    def __call__(self, event: dict[str, Any]) -> None:
        if self._writer is not None:
            self._guarded(lambda: self._write(event))

    def _guarded(self, write: Callable[[], None]) -> None:
        """Writes; a full disk, which the writer's thread has died of by then, ends TensorBoard, not the training."""
        try:
            write()
        except OSError as error:
            self._writer = None
            print(f"no more TensorBoard events ({error}); training goes on", file=sys.stderr)

    def _write(self, event: dict[str, Any]) -> None:
        if event["event"] == "epoch":
            for name in ("train_loss", "lr", "samples_per_s", "wait_share"):
                if event[name] is not None:
                    self._writer.add_scalar(f"train/{name}", event[name], event["step"])
        elif event["event"] == "validation":
            for name, value in {"mean": event["mean_dice"], **event["dice"]}.items():
                self._writer.add_scalar(f"validation_dice/{name}", value, event["step"])
        elif event["event"] in ("end", "stop"):
            self._writer.close()

    def show(self, step: int, case: str, drawn: NDArray[np.uint8]) -> None:
        """A picture (rows, columns, 3) of a validation case."""
        if self._writer is not None:
            self._guarded(lambda: self._writer.add_image(f"validation/{case}", drawn, step, dataformats="HWC"))


@once
def _hush_writer_threads() -> None:
    """Keeps TensorBoard's thread from printing a traceback for a full disk: the next event raises the same error."""
    before = threading.excepthook

    def hook(what: threading.ExceptHookArgs) -> None:
        if type(what.thread).__name__ != "_AsyncWriterThread" or not issubclass(what.exc_type, OSError):
            before(what)

    threading.excepthook = hook
