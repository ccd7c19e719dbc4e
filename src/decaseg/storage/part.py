"""A file as far as it was fetched: its bytes, where they came from, and how many of them are safely on the disk."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from decaseg.storage.files import read_json, write_json

PIECE_BYTES = 1 << 20
SYNC_S = 2.0  # at most so much of a download is lost by a kill


@dataclass(frozen=True)
class Source:
    """An address and the checksums that its file must have (lower-case hexadecimal; None: not known)."""

    url: str
    md5: str | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class State:
    """What archive.json says: the address, what the server called this version of the file, its size, bytes synced."""

    url: str
    etag: str | None = None
    last_modified: str | None = None
    total: int | None = None
    synced: int = 0

    @property
    def validator(self) -> str | None:
        """What makes a server say whether the file is still the same; weak ETags are no promise of equal bytes."""
        if self.etag and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified


class Sums:
    """The checksums of what has passed."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256() if source.sha256 else None

    def update(self, piece: bytes) -> None:
        self._md5.update(piece)
        if self._sha256:
            self._sha256.update(piece)

    @property
    def md5(self) -> str:
        return self._md5.hexdigest()

    @property
    def sha256(self) -> str | None:
        return self._sha256.hexdigest() if self._sha256 else None

    def wrong(self) -> str:
        """How they differ from what was expected; empty where they do not."""
        for name, expected, found in (
            ("MD5", self.source.md5, self.md5),
            ("SHA-256", self.source.sha256, self.sha256),
        ):
            if expected and expected != found:
                return f"its {name} is {found}, {expected} was expected"
        return ""


class Part:
    """The file as far as it is there, with the checksums of that much."""

    def __init__(
        self, folder: Path, source: Source, say: Callable[[str], None], advance: Callable[[int, int], None]
    ) -> None:
        self.path, self.state_path = folder / "archive.part", folder / "archive.json"
        self.source, self.say, self.advance = source, say, advance
        self.state, self.resumed = State(source.url), False
        self.synced_at = time.monotonic()

    def __enter__(self) -> Part:
        self.file = self.path.open("a+b")
        self.reset()
        found = _read_state(self.state_path)
        if found.url == self.source.url and found.synced <= self.path.stat().st_size:
            if found.validator or found.synced == found.total or self.verifiable:
                self.state = found
        elif found.url not in ("", self.source.url):
            self.say("an earlier download here was from another address; beginning anew")
        self.file.truncate(self.state.synced)
        self._digest_what_is_there()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # a full disk; a download that failed says why by itself
            self.sync()
        with suppress(OSError):
            self.file.close()

    @property
    def verifiable(self) -> bool:
        return bool(self.source.md5 or self.source.sha256)

    @property
    def complete(self) -> bool:
        return self.state.total is not None and self.done == self.state.total

    def conditions(self) -> dict[str, str]:
        """The headers that ask for what is missing, where the server still has the file begun with."""
        if not self.done or not (self.state.validator or self.verifiable):
            if self.done:
                self.restart()
            return {}
        asked = {"Range": f"bytes={self.done}-"}
        return asked | ({"If-Range": self.state.validator} if self.state.validator else {})

    def write(self, piece: bytes) -> None:
        self.file.write(piece)
        self.done += len(piece)
        self.sums.update(piece)
        if time.monotonic() - self.synced_at > SYNC_S:
            self.sync()

    def sync(self) -> None:
        """Brings what there is to the disk and then says so in archive.json."""
        if self.file.closed or not self.path.exists():
            return
        self.file.flush()
        os.fsync(self.file.fileno())
        self.state = replace(self.state, synced=self.done)
        write_json(self.state_path, asdict(self.state))
        self.synced_at = time.monotonic()

    def restart(self) -> None:
        """Forgets everything but the address."""
        self.state = State(self.source.url)
        write_json(self.state_path, asdict(self.state))  # before the bytes go: it must never promise too many
        self.file.truncate(0)
        self.reset()

    def remove(self) -> None:
        self.restart()
        self.path.unlink()
        self.state_path.unlink()

    def reset(self) -> None:
        self.done, self.sums = 0, Sums(self.source)

    def _digest_what_is_there(self) -> None:
        """The checksums go over the part that an earlier run fetched, too."""
        self.file.seek(0)
        while piece := self.file.read(PIECE_BYTES):
            self.sums.update(piece)
            self.done += len(piece)
            self.advance(self.done, self.state.total or 0)


def _read_state(path: Path) -> State:
    """What an earlier run left; an empty address where that is nothing, or damaged."""
    with suppress(ValueError, TypeError, KeyError, AttributeError):
        raw: dict[str, Any] = read_json(path)
        state = State(**raw)
        texts = (state.etag, state.last_modified)
        numbers = (state.synced, 0 if state.total is None else state.total)
        sound = all(t is None or (isinstance(t, str) and t.isprintable()) for t in texts)
        if sound and isinstance(state.url, str) and all(isinstance(n, int) and n >= 0 for n in numbers):
            return state
    return State("")
