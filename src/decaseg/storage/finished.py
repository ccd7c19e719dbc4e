"""Which cases of a folder of predictions are finished, for this model, these options and this image.

A prediction is taken as finished only where a record of it says the same job (model, options, content of the image)
and the files lie there as they were written. In doubt it is made again: a stale prediction is never shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decaseg.storage.files import read_json, sha256_of, write_json

FOLDER = ".finished"


@dataclass(frozen=True)
class Finished:
    """The records in a folder of predictions: `.finished/<case>.json`, one a case."""

    folder: Path

    def record(self, case: str) -> Path:
        return self.folder / FOLDER / f"{case}.json"

    def is_done(self, case: str, job: Mapping[str, Any], outputs: Iterable[Path]) -> bool:
        """Whether every output of the case lies there, made by this very job and not touched since."""
        with suppress(ValueError, OSError, TypeError):
            found = read_json(self.record(case))
            return bool(found["job"] == dict(job) and found["outputs"] == _states(outputs))
        return False

    def write(self, case: str, job: Mapping[str, Any], outputs: Iterable[Path], **more: Any) -> None:
        """Records that the outputs are complete; call it when they are."""
        write_json(self.record(case), {"job": dict(job), "outputs": _states(outputs), **more})


def content_hash(*paths: Path) -> str:
    """SHA-256 over the bytes of files."""
    total = hashlib.sha256()
    for path in paths:
        total.update(bytes.fromhex(sha256_of(path)))
    return total.hexdigest()


def _states(outputs: Iterable[Path]) -> dict[str, list[int]]:
    """Name -> size and time of change, which a file that is replaced does not keep."""
    states = ((path, path.stat()) for path in outputs)
    return {path.name: [state.st_size, state.st_mtime_ns] for path, state in states}
