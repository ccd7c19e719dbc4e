"""Commands in processes that are killed, without paying for their imports each time: one process imports, then forks.

    warm = Warm("decaseg.workflows.train")
    child = warm.start(["train", ...], said=Path("said.txt"))
    os.kill(child, signal.SIGKILL)
    warm.wait(child)    # -9

Started as `python -m tests.faults.warm MODULE ...` it is that process: it reads orders, a line of JSON each.
MODULE:FUNCTION is called besides.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import posix
import resource
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class Warm:
    """The process that has imported, and its children."""

    def __init__(self, *modules: str) -> None:
        words = [sys.executable, "-m", "tests.faults.warm", *modules]
        ways = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
                                        env=os.environ | {"PYTHONPATH": ways, "OMP_NUM_THREADS": "1"})  # fmt: skip
        assert self._hear() == "warm"

    def __enter__(self) -> Warm:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def start(self, words: list[str], said: Path, **how: Any) -> int:
        """Forks a child that runs the command; `how`: `disk` (arguments of Disk), `limits`, `call` (module:function
        in place of the command line), `counted` (a file for the operations that were made), `env`, `patch` (module:name
        and its value), `shm_kib` (the size of its own /dev/shm; 77 where that may not be made), `room_kib` (address
        space beyond what it has at first), `grown` (a file for the KiB of it that were taken at most)."""
        return int(self._ask({"do": "start", "words": [*map(str, words)], "said": str(said), **how}))

    def wait(self, child: int) -> int:
        """Its exit code; minus the number of the signal that killed it."""
        return int(self._ask({"do": "wait", "child": child}))

    def run(self, words: list[str], said: Path, **how: Any) -> int:
        return self.wait(self.start(words, said, **how))

    def learn(self, words: list[str], said: Path, **how: Any) -> int:
        """Runs the command, and has the warm process import what it imported; for the speed of all that follow."""
        code = self.run(words, said, modules=f"{said}.modules", **how)
        assert self._ask({"do": "import", "modules": json.loads(Path(f"{said}.modules").read_text())}) == "imported"
        return code

    def _ask(self, order: dict[str, Any]) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self._hear()

    def _hear(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the warm process has died"
        return line.strip()


def child(order: dict[str, Any]) -> int:
    """What a forked child does: faults, limits, the command."""
    said = os.open(order["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    sys.stdin = open(os.devnull)  # noqa: SIM115, PTH123
    from tests.faults.disk import Disk

    if "shm_kib" in order and not _small_shared_memory(order["shm_kib"]):
        return 77
    os.environ.update(order.get("env", {}))
    for place, value in order.get("patch", {}).items():
        module, name = place.split(":")
        setattr(importlib.import_module(module), name, value)
    for name, value in order.get("limits", {}).items():
        resource.setrlimit(getattr(resource, name), (value, value))
    at_first_kib = _address_space_kib("VmSize")
    if "room_kib" in order:
        most = 1024 * (at_first_kib + order["room_kib"])
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    disk = None
    if "disk" in order:
        disk = Disk(**order["disk"])
        disk.install()
    if "call" in order:
        module, name = order["call"].split(":")
        work = getattr(importlib.import_module(module), name)
        code = _told(lambda: work(*order["words"]) or 0)
    else:
        from decaseg.cli import call

        code = _told(lambda: call(order["words"]))
    if "counted" in order and disk is not None:
        _put(order["counted"], disk.made)
    if "grown" in order:
        _put(order["grown"], _address_space_kib("VmPeak") - at_first_kib)
    if "modules" in order:
        _put(order["modules"], sorted(sys.modules))
    return code


def _small_shared_memory(kib: int) -> bool:
    """/dev/shm for this process alone, of that size; False where that is not allowed."""
    if ctypes.CDLL(None).unshare(0x00020000):  # CLONE_NEWNS
        return False
    mounts = (["--make-rprivate", "/"], ["-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", "/dev/shm"])
    return all(subprocess.run(["mount", *words], capture_output=True).returncode == 0 for words in mounts)


def _address_space_kib(which: str) -> int:
    """VmSize: now; VmPeak: at most."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith(which))


def _told(work: Any) -> int:
    try:
        return int(work())
    except BaseException:
        traceback.print_exc()
        return 1


def _put(path: str, document: Any) -> None:
    """Writes beside the counted calls."""
    descriptor = posix.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    posix.write(descriptor, json.dumps(document).encode())


def serve() -> None:
    for word in sys.argv[1:]:
        module, _, name = word.partition(":")
        found = importlib.import_module(module)
        if name:
            getattr(found, name)()
    from decaseg import cli

    cli._command()
    assert threading.active_count() == 1, threading.enumerate()
    print("warm", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "start":
            sys.stdout.flush()
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    code = child(order)
                    sys.stdout.flush()
                    sys.stderr.flush()
                finally:
                    os._exit(code)
            print(pid, flush=True)
        elif order["do"] == "import":
            for name in order["modules"]:
                with contextlib.suppress(Exception):
                    importlib.import_module(name)
            assert threading.active_count() == 1, threading.enumerate()
            print("imported", flush=True)
        else:
            print(os.waitstatus_to_exitcode(os.waitpid(order["child"], 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
