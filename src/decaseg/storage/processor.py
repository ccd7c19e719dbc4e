"""What Linux tells of the processor: its name, its maker, its instructions."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from functools import cache
from pathlib import Path


@cache
def _cpu_fact(name: str) -> str:
    """A line of the first processor in /proc/cpuinfo; empty where the system does not tell."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(name):
                return line.split(":", 1)[1].strip()
    return ""


def cpu_flags() -> frozenset[str]:
    """The processor's feature flags as Linux names them; empty where the system does not tell."""
    return frozenset(_cpu_fact("flags").split())


def cpu_vendor() -> str:
    """The processor's maker as Linux names it, like GenuineIntel; empty where the system does not tell."""
    return _cpu_fact("vendor_id")


def processor_name() -> str:
    """The processor as the system names it."""
    return _cpu_fact("model name") or platform.processor() or platform.machine()


def available_cores() -> int:
    """Physical cores this process may run on, as far as the system tells."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    siblings = set()
    for cpu in allowed:
        path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            siblings.add(path.read_text().strip())
        except OSError:
            siblings.add(str(cpu))
    return max(1, len(siblings))
