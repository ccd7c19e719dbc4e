"""One model in a process of its own, which is kept alive and asked to work in turn.

Its peak memory is then that model's, and no library finds settings, threads or freed blocks of another model's.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, Any

PATIENCE_S = 2.0  # for a process that was asked to end
# The child finds modules where this process does, without the working directory that `-m` would put first.
PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from {module} import main; main()"


class Child:
    """Asks and answers are a line of JSON each, over the process's standard input and output.

    `name` begins every error. What the libraries in it print to standard error is kept, and shown only where the
    process ends by itself.
    """

    def __init__(self, name: str, module: str) -> None:
        self.name = name
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM.format(module=module), json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=os.environ | {"PYTHONIOENCODING": "utf-8"},
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, do: str, **words: Any) -> Mapping[str, Any]:
        """What the process answers. ValueError, beginning with the name, for what a user can mend."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **words}).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            raise ValueError(f"{self.name}: {self._end()}")
        answer: Mapping[str, Any] = json.loads(line)
        if "error" in answer:
            raise ValueError(f"{self.name}: {answer['error']}")
        if "fault" in answer:
            raise RuntimeError(f"{self.name}:\n{answer['fault']}")
        return answer

    def close(self, at_once: bool = False) -> None:
        """Ends the process; it is killed where it does not end by itself, or `at_once`."""
        if at_once:
            self._process.kill()
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._said.close()

    def _end(self) -> str:
        code = self._process.wait()
        if code == -signal.SIGKILL:
            return "its process was killed, most likely for want of memory; benchmark fewer or smaller models"
        self._said.seek(0)
        last = self._said.read().decode("utf-8", "replace").strip().splitlines()[-1:]
        return f"its process ended with {code}{': ' + last[0] if last else ''}; try it alone with decaseg predict"
