"""Serves a fixed table of answers to this machine alone: no folder, no path of a request ever becomes a file's."""

from __future__ import annotations

import json
import secrets
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LOOPBACK = "127.0.0.1"
IDLE_S = 30.0  # a connection that says nothing for so long is closed
HEADERS = {
    # Scripts, styles and data come from this server or from within the page; nothing from elsewhere, nothing inline.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self' data:; font-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the address holds the token
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",  # patients' images do not stay in the browser's cache
}


@dataclass(frozen=True)
class Answer:
    """A body and its media type."""

    body: bytes
    kind: str

    @classmethod
    def json(cls, document: Any) -> Answer:
        text = json.dumps(document, ensure_ascii=False, allow_nan=False)
        return cls(text.encode(), "application/json; charset=utf-8")


Table = Mapping[str, Callable[[], Answer]]


@dataclass(frozen=True)
class Open:
    """A server at work: where it is found, and the port alone."""

    url: str
    port: int


@contextmanager
def serving(table: Table, port: int = 0, token: str | None = None) -> Iterator[Open]:
    """Answers GET and HEAD for the table's keys below a secret path on 127.0.0.1 until the block ends.

    `port` 0 takes any that is free. An answer that raises ValueError or MemoryError becomes status 422 with its line;
    OSError when the port is taken.
    """
    token = token or secrets.token_urlsafe(24)
    paths = {f"/{token}/{name}": answer for name, answer in table.items()}
    server = ThreadingHTTPServer((LOOPBACK, port), _handler(paths))
    server.daemon_threads = True
    worker = threading.Thread(target=server.serve_forever, name="viewer", daemon=True)
    worker.start()
    try:
        found = int(server.server_address[1])
        yield Open(f"http://{LOOPBACK}:{found}/{token}/", found)
    finally:
        server.shutdown()
        server.server_close()
        worker.join(5)


@contextmanager
def until_a_signal() -> Iterator[Callable[[], int]]:
    """Gives `wait`, which sleeps until Ctrl-C (130) or SIGTERM (0) and gives the exit code; for the main thread.

    From the block's beginning on neither signal is lost, so that a process may say that it is there and be ended.
    """
    ended, code = threading.Event(), [0]

    def end(number: int, _: Any) -> None:
        code[0] = 130 if number == signal.SIGINT else 0
        ended.set()

    def wait() -> int:
        while not ended.wait(1.0):  # with a limit, since on Windows a bare wait cannot be interrupted
            pass
        return code[0]

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield wait
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _handler(paths: Mapping[str, Callable[[], Answer]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = IDLE_S

        def do_GET(self) -> None:
            self._answer()

        def do_HEAD(self) -> None:
            self._answer()

        def _answer(self) -> None:
            # A page elsewhere whose name was made to point here (DNS rebinding) still sends its own name.
            port = self.connection.getsockname()[1]
            if self.headers.get_all("Host") not in ([f"{LOOPBACK}:{port}"], [f"localhost:{port}"]):
                self._send(HTTPStatus.FORBIDDEN, _line("this server answers to its own address only"))
                return
            make = paths.get(self.path)
            if make is None:
                self._send(HTTPStatus.NOT_FOUND, _line("there is nothing at this address"))
                return
            try:
                answer, status = make(), HTTPStatus.OK
            except (ValueError, MemoryError) as error:
                answer, status = _line(str(error) or "not enough memory"), HTTPStatus.UNPROCESSABLE_ENTITY
            self._send(status, answer)

        def _send(self, status: HTTPStatus, answer: Answer) -> None:
            self.send_response(status)
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(answer.body)))
            if status is HTTPStatus.METHOD_NOT_ALLOWED:
                self.send_header("Allow", "GET, HEAD")
            for name, value in HEADERS.items():
                self.send_header(name, value)
            if status is not HTTPStatus.OK:  # a body that came along is not read, so the connection is of no more use
                self.send_header("Connection", "close")
                self.close_connection = True
            self.end_headers()
            if self.command != "HEAD":
                try:
                    self.wfile.write(answer.body)
                except (BrokenPipeError, ConnectionResetError):  # the page was closed meanwhile
                    self.close_connection = True

        def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
            """What the base class refuses: other methods, lines that are no HTTP."""
            status = HTTPStatus(code)
            if status is HTTPStatus.NOT_IMPLEMENTED:
                status = HTTPStatus.METHOD_NOT_ALLOWED
            self._send(status, _line(f"refused: {status.phrase.lower()}"))

        def version_string(self) -> str:
            return "decaseg"

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: requests hold the token."""

    return Handler


def _line(text: str) -> Answer:
    return Answer((" ".join(text.split()) + "\n").encode(), "text/plain; charset=utf-8")
