"""What the server's heap keeps of memory that is not used any more."""

from __future__ import annotations

import ctypes
from contextlib import suppress


def return_freed_memory() -> None:
    """Gives pages that hold nothing back to the kernel; elsewhere than on glibc this does nothing.

    glibc keeps freed blocks in a heap a thread: uploads of odd sizes leave more of them with the hours, up to half as
    much again as what is in use (benchmarks/faults/attacks.md).
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
