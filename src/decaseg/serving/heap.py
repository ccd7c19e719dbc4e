"""What the server's heap keeps of memory that is not used any more."""

from __future__ import annotations

import ctypes
from contextlib import suppress

LARGE_BYTES = 64 << 10
M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8  # of glibc's malloc.h


def keep_little() -> None:
    """Large blocks stay out of the heap, and go back to the kernel when they are freed; threads share two heaps.

    glibc would keep freed blocks in a heap a thread: uploads of odd sizes leave more and more of them, up to half as
    much again as what is in use (benchmarks/faults/attacks.md). Elsewhere than on glibc this does nothing.
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        libc.mallopt(M_ARENA_MAX, 2)


def return_freed_memory() -> None:
    """Gives pages of the heap that hold nothing back to the kernel."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
