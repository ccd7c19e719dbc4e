"""What an earlier check measured of a file, kept outside the data set and forgotten when file or code changed.

An entry is a small file of JSON with its checksum. It appears by one rename, so that a kill leaves no half entry and
two checks at once do no harm: at worst both measure the same file and the second entry replaces the first.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

UNUSED_S = 90 * 86400.0  # entries that nobody has made or asked for in so long are removed
OTHER_CODE_S = 30 * 86400.0  # and those of other versions sooner


def user_cache() -> Path:
    """Where programs keep what they can make again: $XDG_CACHE_HOME, or ~/.cache."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(named) if named else Path.home() / ".cache") / "decaseg"


class Remembered:
    """Facts about files in `folder`, made by code whose sum is `code`; other code has a folder of its own."""

    def __init__(self, folder: Path, code: str) -> None:
        self.folder = folder / code[:16]
        self.usable = True  # until the first write fails: a check works without

    def key(self, files: tuple[Path, ...], what: str) -> str | None:
        """A name for these files as they are now: by device, inode, size and both times. None where one is not there.

        The time of the last change of the inode is among them, which nobody can set back: a file that was changed and
        given its old date has another key.
        """
        try:
            states = [file.stat() for file in files]
        except OSError:
            return None
        numbers = [(s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in states]
        return hashlib.sha256(f"{what} {numbers}".encode()).hexdigest()[:32]

    def get(self, key: str) -> Mapping[str, Any] | None:
        """The facts; None where there are none, or damaged ones."""
        path = self.folder / key
        try:
            document = json.loads(path.read_bytes())
            text = document["facts"]
            if hashlib.sha256(text.encode()).hexdigest() != document["sha256"]:
                return None
            facts = json.loads(text)
            if time.time() - path.stat().st_mtime > UNUSED_S / 10:
                os.utime(path)  # it is in use
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return facts if isinstance(facts, dict) else None

    def put(self, key: str, facts: Mapping[str, Any]) -> None:
        """Keeps the facts, if the folder can be written to."""
        if not self.usable:
            return
        text = json.dumps(dict(facts))
        document = json.dumps({"sha256": hashlib.sha256(text.encode()).hexdigest(), "facts": text})
        temporary = self.folder / f".{key}.{secrets.token_hex(4)}.tmp"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            temporary.write_text(document, encoding="utf-8")  # not synced: what a power cut tears has another checksum
            temporary.replace(self.folder / key)
        except OSError:
            self.usable = False
            with suppress(OSError):
                temporary.unlink()

    def sweep(self) -> None:
        """Removes what is out of use: old entries, leftovers of kills, and folders of other code."""
        now = time.time()
        with suppress(OSError):
            for path in self.folder.iterdir():
                with suppress(OSError):
                    limit = 3600.0 if path.name.startswith(".") else UNUSED_S
                    if now - path.stat().st_mtime > limit:
                        path.unlink()
        with suppress(OSError):
            for folder in self.folder.parent.iterdir():
                with suppress(OSError):
                    if folder != self.folder and folder.is_dir() and now - folder.stat().st_mtime > OTHER_CODE_S:
                        shutil.rmtree(folder, ignore_errors=True)
