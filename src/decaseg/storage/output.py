"""A folder that a command writes to: who else may at the same time, and what killed ones left there.

The lock is the folder's own and dies with its process, so that none is ever stale.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from decaseg.storage.files import sweep_temporaries
from decaseg.storage.lock import held

SWEEPING_S = 1.5  # a process that is about to share the folder may be sweeping it


@contextmanager
def only_writer(folder: Path, *below: str, option: str = "--out") -> Iterator[None]:
    """The folder is this process's alone inside the `with`; it is made, and goes again if it stays empty.

    What killed processes left half written in it, and in the folders `below` it, goes. ValueError where another
    process writes there, which calls the folder `option`.
    """
    with ExitStack() as stack:
        _enter(stack, folder, shared=False, option=option)
        _sweep(folder, below)
        try:
            yield
        finally:
            with suppress(OSError):  # it holds something
                folder.rmdir()


@contextmanager
def one_of_writers(folder: Path, *below: str) -> Iterator[None]:
    """The folder may be written to by others that enter it so; none is its `only_writer` meanwhile.

    The first one sweeps it: later ones cannot tell what was left half written from what is being written.
    """
    with ExitStack() as stack:
        try:
            _enter(stack, folder, shared=False)
        except ValueError:
            pass
        else:
            _sweep(folder, below)
            stack.close()
        _enter(stack, folder, shared=True)
        yield


def _enter(stack: ExitStack, folder: Path, shared: bool, option: str = "--out") -> None:
    """Makes the folder and locks it; ValueError where it cannot be had, after a moment where it is to be shared."""
    until = time.monotonic() + (SWEEPING_S if shared else 0.0)
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            stack.enter_context(held(folder, shared))
            return
        except FileNotFoundError:  # its last writer has just removed it
            continue
        except BlockingIOError:
            if time.monotonic() >= until:
                raise ValueError(
                    f"{option} {folder}: another process is writing there; wait for its end, or name another folder"
                ) from None
            time.sleep(0.02)


def _sweep(folder: Path, below: tuple[str, ...]) -> None:
    for place in (folder, *(folder / name for name in below)):
        sweep_temporaries(place)
