"""Uploads and results on disk: private, under names of our own, gone when they are not needed."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

from decaseg.serving.refusal import Refusal
from decaseg.storage.lock import held

PREFIX = "run-"


class Spool:
    """One server's folder (0700, locked while it lives) inside `root`, with a folder for each upload.

    What servers that were killed left in `root` is removed first: their locks died with them.
    """

    def __init__(self, root: Path | None, most_bytes: int) -> None:
        self.root = root or Path(tempfile.gettempdir()) / f"decaseg-serve-{os.geteuid()}"
        self._ours = not self.root.exists()
        _private(self.root)
        sweep(self.root)
        self.most_bytes, self.bytes = most_bytes, 0
        self._sizes: dict[Path, int] = {}
        self._locks = ExitStack()
        self.folder = self.root / f"{PREFIX}{secrets.token_hex(8)}"
        self.folder.mkdir(mode=0o700)
        self._locks.enter_context(held(self.folder))

    def new_folder(self) -> Path:
        """An empty private folder."""
        path = self.folder / secrets.token_hex(8)
        path.mkdir(mode=0o700)
        self._sizes[path] = 0
        return path

    def take(self, folder: Path, size: int) -> None:
        """Counts `size` more bytes in `folder`; Refusal where all together would be too many."""
        if self.bytes + size > self.most_bytes:
            raise Refusal(429, "disk_full", "the server holds too many images already; send it again later", 10)
        self._sizes[folder] += size
        self.bytes += size

    def remove(self, folder: Path) -> None:
        """Removes the folder and all in it; nothing where it is gone already."""
        self.bytes -= self._sizes.pop(folder, 0)
        shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self._locks.close()
        if self._ours:
            with suppress(OSError):
                self.root.rmdir()  # where no other server uses it


def sweep(root: Path) -> None:
    """Removes the folders in `root` that no living server holds."""
    for path in root.glob(f"{PREFIX}*"):
        if path.is_symlink() or not path.is_dir():
            continue
        with suppress(OSError), held(path) as locked:
            if locked:
                shutil.rmtree(path, ignore_errors=True)


def create_private(path: Path) -> int:
    """A descriptor of a new file (0600) that nobody else made."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def _private(root: Path) -> None:
    """Makes `root` if need be; ValueError where another user could have made or may read it."""
    with suppress(FileExistsError):
        root.mkdir(mode=0o700, parents=True)
    facts = root.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o077:
        raise ValueError(f"--spool {root}: must be a folder of your own that nobody else may enter (mode 700)")
