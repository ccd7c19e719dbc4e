"""Which device and which precision a network runs in, and how many threads."""

from __future__ import annotations

import ctypes
import os
from contextlib import AbstractContextManager, nullcontext, suppress

import torch

from decaseg.storage.processor import available_cores, cpu_flags, cpu_vendor

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "fp32", "bf16")


def choose_device(name: str) -> torch.device:
    """`auto` takes a GPU where there is one. ValueError for an unknown or absent device."""
    if name not in DEVICES:
        raise ValueError(f"--device {name}: choose one of {', '.join(DEVICES)}")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: this machine (or this build of torch) has no GPU; use --device cpu")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")


def choose_precision(name: str, device: torch.device) -> str:
    """`auto` is bf16 where it is faster: GPUs that have it, processors with matrix tiles (AMX), AMD's with bf16.

    AMD's do twice as many bf16 as fp32 operations a cycle. Intel's with AVX-512 bf16 instructions but no tiles do as
    many of one as of the other, and pay for converting; there fp32 is the faster one. See benchmarks/step-speed/.
    """
    if name not in PRECISIONS:
        raise ValueError(f"--precision {name}: choose one of {', '.join(PRECISIONS)}")
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    flags = cpu_flags()
    fast = "amx_bf16" in flags or ("avx512_bf16" in flags and cpu_vendor() == "AuthenticAMD")
    return "bf16" if fast else "fp32"


def set_threads(threads: int | None, processes: int = 1) -> int:
    """Sets torch's threads and returns their number; None: one a core, cores shared among this machine's processes.

    What OMP_NUM_THREADS says (torchrun sets it to 1) is overruled.
    """
    count = threads or max(1, available_cores() // processes)
    torch.set_num_threads(count)
    _keep_freed_memory()
    return count


def _keep_freed_memory() -> None:
    """Tells glibc to keep freed blocks for the next step instead of giving them back to the kernel.

    By default every large activation is mapped, zeroed by page faults and unmapped again, which a training
    step feels. Elsewhere than on glibc this does nothing.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD


def return_freed_memory() -> None:
    """Tells glibc to give every freed block of 4 MiB or more back to the kernel at once.

    For training with little memory: kept blocks of many sizes leave gaps, which took as much again as what was in
    use (see benchmarks/memory/). Elsewhere than on glibc this does nothing.

    The price is that every block comes with its page faults, so torch is asked for large pages; it listens only until
    it makes its first tensor.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(-3, 4 << 20)  # M_MMAP_THRESHOLD


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context in which a forward pass runs in `precision`."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()
