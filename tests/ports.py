"""A port for a process that cannot be asked which one it took."""

from __future__ import annotations

import random
import socket
from pathlib import Path


def unclaimed_port() -> int:
    """A free one below those that the kernel hands out: nobody who asks for "any" gets it in the meantime."""
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        first = 32768
    for port in random.SystemRandom().sample(range(10_000, max(first, 12_000)), 100):
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("100 ports were tried, and all are taken")
