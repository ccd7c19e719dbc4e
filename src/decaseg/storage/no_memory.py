"""Whether an error says that the system refused memory: each library has words of its own for it.

What was being read then is not damaged, and what was being done is not a fault of ours.
"""

from __future__ import annotations

import errno

# In exceptions of C++ and numpy, torch, oneDNN, OpenVINO and ONNX Runtime, the system's loader, and Python's threads.
SAYINGS = (
    "bad_alloc",
    "bad allocation",
    "Unable to allocate",
    "can't alloc",
    "Cannot allocate memory",
    "out of memory",
    "could not create a primitive",
    "could not execute a primitive",
    "Failed to allocate",
    "failed to map segment",
    "can't start new thread",
    "error return without exception set",  # of Python's own imports, as a SystemError
)


def refused(error: BaseException) -> bool:
    """Does it, or what it was raised in the handling of, say that there was no memory?"""
    found: BaseException | None = error
    while found is not None:  # OpenVINO's converter hides a MemoryError behind words of its own
        if isinstance(found, MemoryError) or (isinstance(found, OSError) and found.errno == errno.ENOMEM):
            return True
        if not isinstance(found, RuntimeError | SystemError | ImportError | OSError):
            return False
        if _says_so(found):
            return True
        found = found.__cause__ or found.__context__
    return False


def in_words(error: BaseException) -> str:
    """One line that says so, what the library said, and the way out."""
    said = " ".join(str(error).split())
    told = f" ({said[-120:]})" if said else ""
    ways = "end other programs or raise the limit (ulimit -v); a smaller --patch or --batch-size trains in less"
    return f"not enough memory{told}; {ways}"


def or_else(error: Exception, reason: Exception) -> Exception:
    """What to raise for a library's `error`: MemoryError where memory was refused, else `reason`."""
    no_room = refused(error) or _says_so(error)  # whatever its class: ONNX Runtime has its own
    return MemoryError(" ".join(str(error).split())[-120:]) if no_room else reason


def _says_so(error: BaseException) -> bool:
    return any(words in str(error) for words in SAYINGS)
