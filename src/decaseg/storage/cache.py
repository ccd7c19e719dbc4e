"""Preprocessed cases on disk: memory-mapped, complete or absent, found by what they were made from, checked on opening.

An entry is a folder: an .npy file an array, and facts.json with the checksum of each. It appears by one rename, so a
kill leaves no half entry. Nothing is synced to the disk: what a power cut tears does not match its checksum and is
made anew, and waiting for the disk after each file would take longer than preprocessing a small case.
"""

from __future__ import annotations

import errno
import hashlib
import json
import secrets
import shutil
import time
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decaseg.storage.lock import held

FORMAT = "2"  # part of every key: a change of what entries hold makes old ones unreachable, never wrong
PIECE_BYTES = 1 << 22  # what is read at a time when checking
SETTLING_S = 60.0  # a temporary folder younger than this may not be locked yet; clocks of two machines differ too
ABANDONED_S = 86400.0  # where the file system has no locks, only age tells
ATTEMPTS = 5  # to put an entry in place of a damaged one while other runs do the same


@dataclass(frozen=True)
class Entry:
    """One case's arrays, memory-mapped, and its facts."""

    arrays: Mapping[str, NDArray]
    facts: Mapping[str, Any]


class Cache:
    """A folder of entries that several runs may read and write at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @staticmethod
    def key(*parts: str) -> str:
        """A name for what was made from `parts` (file hashes, settings); other parts give another key."""
        return hashlib.sha256("\0".join((FORMAT, *parts)).encode()).hexdigest()[:32]

    def get(self, key: str) -> Entry | None:
        """The entry, every byte of it checked; None where it is absent or damaged."""
        return _opened(self.folder / key)

    def put(self, key: str, arrays: Mapping[str, NDArray], facts: Mapping[str, Any]) -> Entry:
        """Writes an entry; where another run was faster, its entry stands. OSError names the entry (full disk)."""
        final, temporary = self.folder / key, self._temporary(key)
        try:
            temporary.mkdir(parents=True)
            with held(temporary):  # so that a sweep of another run knows that this one lives
                _write(temporary, arrays, facts)
                mine = _opened(temporary)
                if mine is None:
                    raise OSError(None, "could not be read back after writing", str(final))
                return self._in_place(key, temporary) or mine
        except OSError as error:
            raise OSError(error.errno, error.strerror or str(error), str(final)) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def sweep(self) -> int:
        """Removes what killed runs left half written; returns how many folders. Those being written are left alone."""
        swept = 0
        for folder in self.folder.glob(".*.tmp"):
            with suppress(OSError):
                age_s = time.time() - folder.stat().st_mtime
                with held(folder) as locked:  # an OSError where its writer lives
                    if age_s > (SETTLING_S if locked else ABANDONED_S):
                        shutil.rmtree(folder)
                        swept += 1
        return swept

    def _temporary(self, key: str) -> Path:
        return self.folder / f".{key}.{secrets.token_hex(4)}.tmp"

    def _in_place(self, key: str, temporary: Path) -> Entry | None:
        """Renames a complete entry to its key; a damaged one there moves aside, a sound one stays and is returned.

        Another run may do the same at the same time: at worst a sound entry moves aside for one as sound.
        """
        final = self.folder / key
        for _ in range(ATTEMPTS):
            try:
                temporary.rename(final)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                if (theirs := _opened(final)) is not None:
                    return theirs
                aside = self._temporary(key)
                with suppress(FileNotFoundError):
                    final.rename(aside)
                shutil.rmtree(aside, ignore_errors=True)
            else:
                break
        return None  # also where the place could not be had: the entry as written serves this run all the same


def _write(folder: Path, arrays: Mapping[str, NDArray], facts: Mapping[str, Any]) -> None:
    sums = {}
    for name, array in arrays.items():
        with (folder / f"{name}.npy").open("wb") as file:
            summed = _Summed(file)
            np.lib.format.write_array(summed, array, allow_pickle=False)
            sums[name] = summed.crc
    text = json.dumps(dict(facts))
    (folder / "facts.json").write_text(
        json.dumps({"crc32": sums, "facts": text, "facts_crc32": zlib.crc32(text.encode())}), encoding="utf-8"
    )


def _opened(folder: Path) -> Entry | None:
    """The entry in a folder if all its arrays are there and match their checksums."""
    try:
        document = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        sums, facts = document["crc32"], document["facts"]
        if zlib.crc32(facts.encode()) != document["facts_crc32"]:
            return None
        if sorted(p.stem for p in folder.glob("*.npy")) != sorted(sums):
            return None
        if any(_crc32(folder / f"{name}.npy") != crc for name, crc in sums.items()):
            return None
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in sums}
        return Entry(arrays, json.loads(facts))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _crc32(path: Path) -> int:
    """zlib's checksum of a file: 2.3 GB/s where SHA-256 does 1.2; damage is to be found here, not an attacker."""
    crc, buffer = 0, bytearray(min(PIECE_BYTES, max(1, path.stat().st_size)))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            crc = zlib.crc32(memoryview(buffer)[:count], crc)
    return crc


class _Summed:
    """A file that keeps the checksum of what is written to it."""

    def __init__(self, file: Any) -> None:
        self.file, self.crc = file, 0

    def write(self, data: bytes) -> int:
        self.crc = zlib.crc32(data, self.crc)
        return int(self.file.write(data))
