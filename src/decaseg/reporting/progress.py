"""A bar on standard error, from the moment a wait is long enough for somebody to wonder."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

Advance = Callable[[int, int], None]
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
