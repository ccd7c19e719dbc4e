"""A bar on standard error, from the moment a wait is long enough for somebody to wonder."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from decaseg.reporting.amounts import amount, duration

Advance = Callable[[int, int], None]
Paced = Callable[[int, int, str], None]
PATIENCE_S = 1.5


@contextmanager
def progress(what: str, lines: bool = False) -> Iterator[Advance]:
    """Gives `advance(done, total)`. A terminal gets a bar; with `lines`, a log gets a line now and then.

    Nothing is shown, and rich is not imported, where the work is done within PATIENCE_S.
    """
    started = time.monotonic()
    with ExitStack() as stack:
        show: Advance | None = None

        def advance(done: int, total: int) -> None:
            nonlocal show
            if show is None and time.monotonic() - started > PATIENCE_S:
                show = stack.enter_context(_bar(what)) if sys.stderr.isatty() else _line_printer(what, lines)
            if show is not None:
                show(done, total)

        yield advance


@contextmanager
def transfer(what: str) -> Iterator[Advance]:
    """Gives `advance(done, total)` for bytes (total 0: not known): amounts, rate and time left.

    A terminal gets a bar, a log a line every 10 s; nothing is shown where it is done within PATIENCE_S.
    """
    started = time.monotonic()
    with ExitStack() as stack:
        show: Paced | None = None
        first: tuple[int, float] | None = None

        def advance(done: int, total: int) -> None:
            nonlocal show, first
            now = time.monotonic()
            if first is None or done < first[0]:
                first = done, now
            if show is None and now - started > PATIENCE_S:
                show = stack.enter_context(_transfer_bar(what)) if sys.stderr.isatty() else _transfer_lines(what)
            if show is not None:
                rate = (done - first[0]) / max(now - first[1], 1e-3)
                show(done, total, _pace(done, total, rate))

        yield advance


def _pace(done: int, total: int, rate_per_s: float) -> str:
    """
    >>> _pace(28_000_000, 56_000_000, 1e6)
    '28.0 MB of 56.0 MB, 1.0 MB/s, 28 s left'
    """
    words = f"{amount(done)} of {amount(total)}" if total else amount(done)
    words += f", {amount(rate_per_s)}/s"
    return f"{words}, {duration((total - done) / rate_per_s)} left" if total and rate_per_s else words


@contextmanager
def _transfer_bar(what: str) -> Iterator[Paced]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[pace]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, pace="")
        yield lambda done, total, pace: bar.update(task, completed=done, total=total or None, pace=pace)


def _transfer_lines(what: str) -> Paced:
    last = float("-inf")

    def show(_done: int, _total: int, pace: str) -> None:
        nonlocal last
        if time.monotonic() - last > 10:
            last = time.monotonic()
            print(f"{what}: {pace}", file=sys.stderr, flush=True)

    return show


@contextmanager
def _bar(what: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _line_printer(what: str, lines: bool) -> Advance:
    last = time.monotonic() - 10

    def show(done: int, total: int) -> None:
        nonlocal last
        if lines and (time.monotonic() - last > 10 or done == total):
            last = time.monotonic()
            print(f"{what}: {done} of {total}", file=sys.stderr, flush=True)

    return show
