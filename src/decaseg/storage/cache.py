"""Preprocessed cases on disk: memory-mapped, complete or absent, found by what they were made from."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decaseg.storage.files import sync_folder

FORMAT = "1"  # part of every key: a change of what entries hold makes old ones unreachable, never wrong


@dataclass(frozen=True)
class Entry:
    """One case's arrays, memory-mapped, and its facts."""

    arrays: Mapping[str, NDArray]
    facts: Mapping[str, Any]


class Cache:
    """A folder of entries. Safe under several runs at once: an entry appears by one rename."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @staticmethod
    def key(*parts: str) -> str:
        """A name for what was made from `parts` (file hashes, settings); other parts give another key."""
        return hashlib.sha256("\0".join((FORMAT, *parts)).encode()).hexdigest()[:32]

    def get(self, key: str) -> Entry | None:
        """The entry, or None where it is absent or not readable."""
        folder = self.folder / key
        try:
            facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
            arrays = {p.stem: np.load(p, mmap_mode="r", allow_pickle=False) for p in sorted(folder.glob("*.npy"))}
            if sorted(arrays) != sorted(facts["arrays"]):
                return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return Entry(arrays, facts)

    def put(self, key: str, arrays: Mapping[str, NDArray], facts: Mapping[str, Any]) -> Entry:
        """Writes an entry; where another run was faster, its entry stands."""
        self.folder.mkdir(parents=True, exist_ok=True)
        final = self.folder / key
        temporary = self.folder / f".{key}.{secrets.token_hex(4)}.tmp"
        try:
            temporary.mkdir()
            for name, array in arrays.items():
                with (temporary / f"{name}.npy").open("wb") as file:
                    np.save(file, array, allow_pickle=False)
                    file.flush()
                    os.fsync(file.fileno())
            (temporary / "facts.json").write_text(json.dumps({**facts, "arrays": sorted(arrays)}), encoding="utf-8")
            if final.exists() and self.get(key) is None:  # damaged: out of the way
                shutil.rmtree(final, ignore_errors=True)
            try:
                temporary.rename(final)
                sync_folder(self.folder)
            except OSError:
                if self.get(key) is None:
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        entry = self.get(key)
        if entry is None:
            raise OSError(f"{final}: could not be read back after writing; check the disk")
        return entry
