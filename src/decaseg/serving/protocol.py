"""HTTP connections with deadlines, which uvicorn does not have: slow and silent clients are cut.

The head of a request must be there within HEADER_S, and an answer must be taken without a pause of STALLED_S; the pace
of uploads is `intake`'s. https://en.wikipedia.org/wiki/Slowloris_(cyber_attack)
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from decaseg.serving.limits import CONNECTIONS, HEADER_S, STALLED_S
from decaseg.serving.refusal import Refusal


class PacedProtocol(H11Protocol):
    """uvicorn's protocol with three timers' worth of patience."""

    _waiting: asyncio.TimerHandle | None = None  # for a request's head
    _stalled: asyncio.TimerHandle | None = None  # for the client to take what was written

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
            return
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._taken()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request's head do not prolong the wait for the rest of it."""
        if self._answering() is False and self._waiting is None:
            self._wait()
        super().data_received(data)
        if self._answering():
            self._stop_waiting()

    def send_400_response(self, msg: str) -> None:
        """For what is no HTTP: our kind of error; nothing where an answer is on its way already."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()
            return
        refusal = Refusal(400, "bad_request", "this is no proper HTTP request")
        body = refusal.body()
        headers = {**refusal.headers(), "content-length": str(len(body)), "connection": "close"}
        for event in (h11.Response(status_code=400, headers=list(headers.items())), h11.Data(data=body),
                      h11.EndOfMessage()):  # fmt: skip
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._taken()
        self._stalled = self.loop.call_later(STALLED_S, self.transport.abort)

    def resume_writing(self) -> None:
        self._taken()
        super().resume_writing()

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(HEADER_S, self._cut)

    def _cut(self) -> None:
        self._waiting = None
        if not self._answering():
            self.transport.abort()

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _taken(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
