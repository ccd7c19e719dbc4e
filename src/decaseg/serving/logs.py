"""Logs as JSON, a line an event: what happened and how long it took, nothing of a patient.

No file names, no header fields, no values, no paths that were asked for (routes instead) and no texts of exceptions,
since those may quote any of them: an error is logged as its type and the line of code that raised it.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

KEPT_LINES = 300


class EventLog:
    """Writes events to `stream` and keeps the last ones for /logs/. Safe to call from any thread."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._lock = threading.Lock()

    def __call__(self, event: str, **facts: Any) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, "event": event, **facts}, ensure_ascii=True)
        with self._lock:
            self.lines.append(line)
            with suppress(OSError, ValueError):  # a full disk or a closed pipe must not stop the server
                print(line, file=self.stream, flush=True)


def where(error: BaseException) -> str:
    """`ValueError at predictor.py:120`: enough to find it, and none of its words."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
    return type(error).__name__ + place


class ToEvents(logging.Handler):
    """Hands other libraries' warnings (uvicorn's, asyncio's) over, without their arguments."""

    def __init__(self, log: EventLog) -> None:
        super().__init__(logging.WARNING)
        self.log = log

    def emit(self, record: logging.LogRecord) -> None:
        facts = {"error": where(record.exc_info[1])} if record.exc_info and record.exc_info[1] else {}
        self.log("library", logger=record.name, level=record.levelname, message=str(record.msg)[:200], **facts)


def capture(log: EventLog) -> None:
    """Sends what libraries log to `log`, and nowhere else."""
    root = logging.getLogger()
    root.handlers = [ToEvents(log)]
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "fastapi"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
