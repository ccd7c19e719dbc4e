"""A server of one's own for a test: the real command in a process, asked over real sockets."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

PATIENCE_S = 300.0  # of a busy machine
RAW = {"Content-Type": "application/octet-stream"}


class Running:
    """`decaseg serve MODEL` on a free port; `with` stops it. `said` is what it printed, `events()` its log."""

    def __init__(
        self, model: Path, folder: Path, *options: object, program: tuple[str, ...] = ("-m", "decaseg")
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.spool, self.errors = folder / "spool", folder / "err.jsonl"
        words = ["serve", model, "--port", 0, "--threads", 1, "--spool", self.spool, *options]
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen([sys.executable, *program, *map(str, words)], stdout=subprocess.PIPE,
                                            stderr=errors, text=True)  # fmt: skip
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline()
        found = re.search(r":(\d+)/$", self.said.strip())
        assert found, self.errors.read_text()
        self.port = int(found[1])

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise
        self.process.stdout.close()

    def ask(self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None):
        """Status, headers (lower case) and body of an answer."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)) as connection:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()

    def json(self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None):
        status, _, data = self.ask(method, path, body, headers)
        return status, json.loads(data) if data else None

    def predict(self, image: bytes):
        return self.ask("POST", "/predict", image, RAW)

    def submit(self, image: bytes) -> str:
        status, job = self.json("POST", "/jobs", image, RAW)
        assert status == 202, job
        return job["id"]

    def wait(self, job: str, *states: str, seconds: float = PATIENCE_S) -> dict:
        """The job once it is in one of the states."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            _, found = self.json("GET", f"/jobs/{job}")
            if found.get("state") in states:
                return found
            time.sleep(0.02)
        raise AssertionError(f"{found} is not {states}")

    def connect(self, timeout: float = PATIENCE_S) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def metrics(self, headers: dict[str, str] | None = None) -> dict[str, float]:
        lines = self.ask("GET", "/metrics", headers=headers)[2].decode().splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}

    def events(self) -> list[dict]:
        return [json.loads(line) for line in self.errors.read_text().splitlines() if line.startswith("{")]

    def model_pid(self) -> int:
        """Of the process that holds the model."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for child in children + [c for path in Path(f"/proc/{self.process.pid}/task").iterdir()
                                 for c in (path / "children").read_text().split()]:  # fmt: skip
            with suppress(OSError):
                if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
        raise AssertionError("there is no such process")

    @contextmanager
    def standing_still(self) -> Iterator[int]:
        """The model's process does nothing meanwhile; its number. It would be replaced after 30 s."""
        model = self.model_pid()
        os.kill(model, signal.SIGSTOP)
        try:
            yield model
        finally:
            with suppress(ProcessLookupError):
                os.kill(model, signal.SIGCONT)

    def processor_s(self) -> float:
        """Seconds of processor that the server and its model have taken."""
        ticks = 0
        for process in (self.process.pid, self.model_pid()):
            ticks += sum(map(int, Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def descriptors(self) -> int:
        """How many files and connections the server has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def files(self) -> list[Path]:
        """Images, label maps and their folders."""
        return [path for path in self.spool.rglob("*") if path.parent != self.spool]


def until(condition: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    """Returns when it is so; AssertionError where that takes too long."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
