"""A real HTTP server on loopback that behaves well or badly, for tests."""

from __future__ import annotations

import hashlib
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Act = Callable[["Handler", bytes], None]


@dataclass
class Site:
    """What is served: `acts` are taken in turn, a request each, the last for all that follow; `asked` is the log."""

    body: bytes
    acts: list[Act]
    port: int = 0
    scheme: str = "http"
    asked: list[dict[str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/set.tar"


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        site = self.site
        number = len(site.asked)
        site.asked.append({"path": self.path, **self.headers})
        with suppress(OSError):
            site.acts[min(number, len(site.acts) - 1)](self, site.body)

    do_CONNECT = do_GET

    def head(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(body: bytes, *acts: Act, certificate: Path | None = None) -> Iterator[Site]:
    """The site while the `with` lasts; over TLS with a certificate and its key in one file."""
    site = Site(body, list(acts) or [whole()])
    kind = type("SiteHandler", (Handler,), {"site": site})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    server.daemon_threads = True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        site.scheme = "https"
    server.handle_error = lambda *_: None  # a client that goes away is what these tests are about
    site.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()


def etag_of(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


def whole(
    cut: int | None = None, ranges: bool = True, etag: bool = True, modified: str | None = None,
    other: bytes | None = None, rate: float | None = None, conditions: bool = True,
) -> Act:  # fmt: skip
    """A good server; `cut` ends the connection after so many bytes of a body, `other` is sent instead of the site's
    body, `rate` is in bytes a second. Without `etag` and `modified` nothing says whether a file is still the same;
    without `conditions` If-Range is not heeded."""

    def act(handler: Handler, body: bytes) -> None:
        body = body if other is None else other
        marks = ({"ETag": etag_of(body)} if etag else {}) | ({"Last_Modified": modified} if modified else {})
        begin = _begin(handler, marks if conditions else None) if ranges else 0
        if begin >= len(body) > 0:
            handler.head(416, Content_Range=f"bytes */{len(body)}", **marks)
            return
        if begin:
            said = f"bytes {begin}-{len(body) - 1}/{len(body)}"
            handler.head(206, Content_Range=said, Content_Length=len(body) - begin, **marks)
        else:
            handler.head(200, Content_Length=len(body), **marks)
        sent = body[begin:] if cut is None else body[begin : begin + cut]
        step = len(sent) if rate is None else max(1, int(rate / 20))
        for start in range(0, len(sent), step or 1):
            handler.wfile.write(sent[start : start + step])
            if rate is not None:
                time.sleep(0.05)

    return act


def _begin(handler: Handler, marks: dict[str, str] | None) -> int:
    """Where the answer begins: what Range asks for, where If-Range still holds (None: whatever it says)."""
    matched = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    condition = handler.headers.get("If-Range")
    if matched is None or (condition is not None and marks is not None and condition not in marks.values()):
        return 0
    return int(matched.group(1))


def status(code: int, **headers: object) -> Act:
    return lambda handler, _: handler.head(code, Content_Length=0, **headers)


def redirect(place: str, code: int = 302) -> Act:
    return status(code, Location=place)


def stall(after: int | None = None, seconds: float = 20.0) -> Act:
    """Says nothing at all, or `after` so many bytes of the body nothing more."""

    def act(handler: Handler, body: bytes) -> None:
        if after is not None:
            handler.head(200, Content_Length=len(body), ETag=etag_of(body))
            handler.wfile.write(body[:after])
            handler.wfile.flush()
        time.sleep(seconds)

    return act


def drip_headers(handler: Handler, _: bytes) -> None:
    """A header that never ends, a byte every 50 ms."""
    handler.wfile.write(b"HTTP/1.0 200 OK\r\nX-A: ")
    for _second in range(400):
        handler.wfile.write(b"a")
        time.sleep(0.05)


def says_length(length: int | None) -> Act:
    """A Content-Length that lies about the whole file; None: none is given."""

    def act(handler: Handler, body: bytes) -> None:
        handler.head(200, ETag=etag_of(body), **({} if length is None else {"Content_Length": length}))
        handler.wfile.write(body)

    return act


def chunked(handler: Handler, body: bytes) -> None:
    handler.protocol_version = "HTTP/1.1"
    handler.head(200, Transfer_Encoding="chunked", Connection="close")
    for start in range(0, len(body), 5000):
        piece = body[start : start + 5000]
        handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
    handler.wfile.write(b"0\r\n\r\n")


def garbage(text: bytes, code: int = 200) -> Act:
    def act(handler: Handler, _: bytes) -> None:
        handler.head(code, Content_Length=len(text), Content_Type="text/html")
        handler.wfile.write(text)

    return act


def no_http(handler: Handler, _: bytes) -> None:
    handler.wfile.write(b"\x00\xff\xfe 220 ftp ready\r\n" * 40)


def wrong_range(handler: Handler, body: bytes) -> None:
    """Whatever part is asked for, the one ten bytes before comes, under a right ETag."""
    begin = _begin(handler, {"ETag": etag_of(body)})
    if not begin:
        whole(cut=len(body) // 2)(handler, body)
        return
    part = body[begin - 10 :]
    said = f"bytes {begin - 10}-{len(body) - 1}/{len(body)}"
    handler.head(206, Content_Range=said, Content_Length=len(part), ETag=etag_of(body))
    handler.wfile.write(part)
