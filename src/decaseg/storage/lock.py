"""Locks that die with the process that holds them, however it dies."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextmanager
def held(path: Path, shared: bool = False) -> Iterator[bool]:
    """Holds a lock on the file or folder at `path` inside the `with`: exclusive, or shared with others that are.

    BlockingIOError at once where another process (or another `held` in this one) holds it, or put another one there
    meanwhile; FileNotFoundError where there is nothing at `path`, or no more. Gives False where the system or the file
    system has no locks: nothing is held then.
    """
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        locked = _locked(descriptor, shared)
        if not os.path.samestat(os.fstat(descriptor), path.stat()):
            raise BlockingIOError(errno.EWOULDBLOCK, "was replaced by another process", str(path))
        yield locked
    finally:
        os.close(descriptor)


def _locked(descriptor: int, shared: bool) -> bool:
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True
