"""What the scripts beside this one share: the server under test, and what a record must name."""

from __future__ import annotations

import http.client
import os
import platform
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

from tests.serving.running import Running  # noqa: E402

from decaseg.serving.metrics import resident_bytes  # noqa: E402
from decaseg.storage.provenance import processor_name  # noqa: E402

__all__ = ["Client", "Counter", "Running", "heading", "memory_mib"]


class Client:
    """One connection that is kept open, as programs do; opened again where the server closed it."""

    def __init__(self, port: int, timeout: float = 120) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)

    def ask(self, body: bytes, headers: dict[str, str], path: str = "/predict") -> tuple[int, bytes]:
        for last in (False, True):
            try:
                self.connection.request("POST", path, body, headers)
                answer = self.connection.getresponse()
                return answer.status, answer.read()
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                self.connection.close()
                if last:
                    raise
        raise AssertionError


def memory_mib(server: Running) -> dict[str, float]:
    """Resident MiB of the server and of the model's process."""
    pids = {"server": server.process.pid, "model": server.model_pid()}
    return {name: resident_bytes(pid) / 2**20 for name, pid in pids.items()}


def heading() -> str:
    """Machine, command and commit."""
    done = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True)
    words = " ".join(["python", *(Path(word).name if os.sep in word else word for word in sys.argv)])
    machine = f"{processor_name()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return f"{machine}, {done.stdout.strip()}: {words}"
