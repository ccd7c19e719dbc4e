"""A run's log: one JSON object a line, appended at once, so that a kill costs at most the line being written."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Listener = Callable[[dict[str, Any]], None]


class EventLog:
    """Writes events to a file and tells listeners (progress, TensorBoard) of them.

    A full disk does not end a training: lines that cannot be written wait, and are tried again with each event.
    """

    def __init__(self, path: Path, *listeners: Listener) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        torn = path.is_file() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
        self._file = path.open("ab", buffering=0)
        self._waiting = b"\n" if torn else b""
        self._listeners = listeners

    def __call__(self, event: str, **values: Any) -> None:
        """Appends `{"event": event, "time": seconds since 1970, ...}`; floats that are not finite become null."""
        record = {"event": event, "time": round(time.time(), 3)} | {k: _plain(v) for k, v in values.items()}
        self._waiting += json.dumps(record, ensure_ascii=False).encode() + b"\n"
        try:
            while self._waiting:
                self._waiting = self._waiting[self._file.write(self._waiting) :]
        except OSError:
            pass
        for listener in self._listeners:
            listener(record)

    def close(self) -> None:
        self._file.close()


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6) if value == value and abs(value) != float("inf") else None
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value
