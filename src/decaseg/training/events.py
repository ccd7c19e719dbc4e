"""A run's log: one JSON object a line, appended and flushed, so that a kill costs at most the line being written."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Listener = Callable[[dict[str, Any]], None]


class EventLog:
    """Writes events to a file and tells listeners (progress, TensorBoard) of them."""

    def __init__(self, path: Path, *listeners: Listener) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        torn = path.is_file() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
        self._file = path.open("a", encoding="utf-8")
        if torn:
            self._file.write("\n")
        self._listeners = listeners

    def __call__(self, event: str, **values: Any) -> None:
        """Appends `{"event": event, "time": seconds since 1970, ...}`; floats that are not finite become null."""
        record = {"event": event, "time": round(time.time(), 3)} | {k: _plain(v) for k, v in values.items()}
        self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        self._file.flush()
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
