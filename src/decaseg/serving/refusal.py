"""Why a request is not answered with what it asked for: a status, a code for programs, a sentence for people."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass
class Refusal(Exception):
    """`sentence` names no path, no file name and no value of a patient's header beyond sizes."""

    status: int
    code: str
    sentence: str
    retry_after_s: int | None = None

    def body(self) -> bytes:
        return json.dumps({"error": self.code, "detail": self.sentence}, ensure_ascii=False).encode()

    def headers(self) -> dict[str, str]:
        found = {"content-type": "application/json"}
        if self.retry_after_s is not None:
            found["retry-after"] = str(self.retry_after_s)
        if self.status == 401:
            found["www-authenticate"] = 'Bearer realm="decaseg"'
        return found


def too_large(what: str) -> Refusal:
    return Refusal(413, "too_large", what)


def busy(waiting: int) -> Refusal:
    return Refusal(429, "queue_full", f"{waiting} images wait already; send it again later", 5)


def stopping() -> Refusal:
    return Refusal(503, "shutting_down", "the server is shutting down; send it again once it is back", 30)
