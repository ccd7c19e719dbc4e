"""What every request passes: access, the log, the counters, headers that browsers heed, and an end for all errors."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from decaseg.serving.access import Access
from decaseg.serving.limits import HEAD_BYTES
from decaseg.serving.logs import EventLog, where
from decaseg.serving.metrics import Counters
from decaseg.serving.refusal import Refusal

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
CLIENT_GONE = 499  # as nginx logs it
DRAIN_S, DRAIN_BYTES = 5.0, 1 << 30  # of a refused upload that are read on, so that its sender hears why
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
}


class Gate:
    """An ASGI application round the one that answers."""

    def __init__(self, app: Any, access: Access, log: EventLog, counters: Counters) -> None:
        self.app, self.access, self.log, self.counters = app, access, log, counters
        self._numbers = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        passage = _Passage(scope, receive, send)
        started, error, gone = time.monotonic(), None, False
        try:
            _refuse_head(scope)
            self.access.check(scope["method"], scope["path"], passage.headers)
            await self.app(scope, passage.receive, passage.send)
        except Refusal as refusal:
            self.counters.add("decaseg_refusals_total", code=refusal.code)
            await passage.refuse(refusal)
        except Exception as fault:
            error, gone = where(fault), passage.gone
            if gone:  # nobody is there to be answered
                passage.status = CLIENT_GONE
            else:
                await passage.refuse(Refusal(500, "internal", "the server failed; its log says where"))
        await passage.finish()
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in METHODS else "other"
        seconds = time.monotonic() - started
        self.counters.add("decaseg_requests_total", route=route, method=method, status=str(passage.status))
        self.counters.add("decaseg_request_seconds_total", seconds, route=route)
        facts: dict[str, Any] = {} if error is None or gone else {"error": error}
        client = (scope.get("client") or ("",))[0]
        self.log("request", number=next(self._numbers), client=client, method=method, route=route,
                 status=passage.status, received=passage.received, sent=passage.sent, seconds=round(seconds, 4),
                 **facts)  # fmt: skip


def _refuse_head(scope: Scope) -> None:
    """h11 bounds a head that comes in pieces only; one that is there at once has any size."""
    size = len(scope["raw_path"]) + len(scope["query_string"]) + sum(len(k) + len(v) for k, v in scope["headers"])
    if size > HEAD_BYTES:
        raise Refusal(431, "head_too_large", f"the request's head is larger than {HEAD_BYTES} bytes")


class _Passage:
    """One request on its way: what was read of it and what was sent."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        if sum(key == b"host" for key, _ in scope["headers"]) != 1:
            self.headers.pop("host", None)
        self._receive, self._send = receive, send
        has_body = self.headers.get("content-length", "0") != "0" or "transfer-encoding" in self.headers
        self.read_all = not has_body
        self.started = self.ended = self.gone = False
        self.status, self.received, self.sent = 0, 0, 0

    async def receive(self) -> Event:
        event = await self._receive()
        if event["type"] == "http.request":
            self.received += len(event.get("body", b""))
            self.read_all = self.read_all or not event.get("more_body", False)
        else:
            self.gone = self.read_all = True
        return event

    async def send(self, event: Event) -> None:
        if event["type"] == "http.response.start":
            self.started, self.status = True, event["status"]
            headers = {key.decode("latin-1").lower() for key, _ in event["headers"]}
            added = {key: value for key, value in HEADERS.items() if key not in headers}
            if not self.read_all:
                added["connection"] = "close"
            event["headers"] = [*event["headers"], *((k.encode(), v.encode()) for k, v in added.items())]
        elif event["type"] == "http.response.body":
            self.sent += len(event.get("body", b""))
            if not event.get("more_body", False):
                self.ended = True
                if not self.read_all:  # the end waits for `finish`
                    event["more_body"] = True
                    self._owes_end = True
        await self._send(event)

    _owes_end = False

    async def refuse(self, refusal: Refusal) -> None:
        """Answers with the refusal, unless an answer has begun."""
        if self.started:
            return
        body = refusal.body()
        headers = {**refusal.headers(), "content-length": str(len(body))}
        encoded = [(key.encode(), value.encode()) for key, value in headers.items()]
        await self.send({"type": "http.response.start", "status": refusal.status, "headers": encoded})
        await self.send({"type": "http.response.body", "body": body})

    async def finish(self) -> None:
        """Reads on for a while where the answer came before the end of the upload, then ends it.

        Closing at once would reset the connection, and a client that is still sending would never see the answer.
        """
        if not self._owes_end:
            return
        try:
            if self.headers.get("expect", "").lower() != "100-continue":
                async with asyncio.timeout(DRAIN_S):
                    while not self.read_all and self.received < DRAIN_BYTES:
                        await self.receive()
        except (TimeoutError, OSError):
            pass
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})
