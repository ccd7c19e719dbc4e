"""A disk whose n-th operation fails, or at whose n-th operation the process is killed: without a preloaded library.

All of decaseg's files go through Python's own `open` and `os`; what is replaced here counts each opening, writing,
syncing, renaming, linking, making and removing, in whichever thread, and goes wrong at the one that was asked for.
What C++ writes by itself (OpenVINO's files) is not counted.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

NAMES = ("open", "fsync", "replace", "rename", "link", "mkdir", "unlink", "rmdir", "truncate", "sendfile", "utime")
FULL = ("write", "mkdir", "link", "sendfile")  # fail as on a full disk, the others as on a broken one


class Disk:
    """Counts operations below the folder `under`; number `at` (from 1) fails, or kills its process before or after.

    `lasting`: so do all that need room from then on, as on a disk that stays full.
    """

    def __init__(self, under: str, at: int = 0, how: str = "fail", lasting: bool = False) -> None:
        assert how in ("fail", "kill before", "kill after")
        self.under, self.at, self.how, self.lasting = under, at, how, lasting
        self.made: list[str] = []
        self._lock = threading.Lock()

    def step(self, name: str, work: Callable[[], Any], place: Any = None) -> Any:
        with self._lock:
            self.made.append(name)
            number = len(self.made)
        mine = number == self.at or (self.lasting and 0 < self.at < number and name in FULL)
        if mine and self.how == "fail":
            code = errno.ENOSPC if name in FULL else errno.EIO
            raise OSError(code, os.strerror(code), None if place is None else str(place))
        if mine and self.how == "kill before":
            os.kill(os.getpid(), signal.SIGKILL)
        done = work()
        if mine:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    def install(self) -> None:
        """For the rest of this process's life."""
        real_open = io.open

        def opened(file: Any, mode: str = "r", buffering: int = -1, *words: Any, **more: Any) -> Any:
            if not self._mine(file):
                return real_open(file, mode, buffering, *words, **more)
            if not set(mode) & set("wax+"):
                return self.step("open", lambda: real_open(file, mode, buffering, *words, **more), file)
            raw = self.step("open", lambda: _Counted(self, file, mode.replace("b", "").replace("t", "")), file)
            return _layers(raw, mode, buffering, *words, **more)

        io.open = builtins.open = opened  # type: ignore[assignment]
        for name in NAMES:
            setattr(os, name, self._counted(name, getattr(os, name)))

    def _counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **more: Any) -> Any:
            if not self._mine(words[0]):
                return real(*words, **more)
            return self.step(name, lambda: real(*words, **more), None if isinstance(words[0], int) else words[0])

        return call

    def _mine(self, file: Any) -> bool:
        """Is it, a path or a descriptor, below the folder?"""
        if isinstance(file, int):
            return str(Path(f"/proc/self/fd/{file}").readlink()).startswith(self.under)
        return str(Path.cwd() / os.fsdecode(file)).startswith(self.under)


class _Counted(io.FileIO):
    """An open file whose writes are counted; a full disk is met when the buffer is emptied, as in life."""

    def __init__(self, disk: Disk, file: Any, mode: str) -> None:
        super().__init__(os.fspath(file), mode)
        self._disk = disk

    def write(self, data: Any) -> int:
        return int(self._disk.step("write", lambda: super(_Counted, self).write(data)))

    def truncate(self, size: int | None = None) -> int:
        return int(self._disk.step("truncate", lambda: super(_Counted, self).truncate(size)))


def _layers(raw: io.FileIO, mode: str, buffering: int, encoding: Any = None, errors: Any = None, newline: Any = None,
            **_: Any) -> Any:  # fmt: skip
    """The buffer and the text layer that `open` would put over `raw`."""
    if "b" in mode and buffering == 0:
        return raw
    buffered: Any = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
    return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding or "utf-8", errors, newline, buffering == 1)


def visible(folder: Path) -> list[Path]:
    """The files under `folder` that have final names: nothing on the way to them is hidden."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts))
