"""Opens http and https addresses: bounded redirects that never lead to another kind of address, and deadlines.

Proxies are those of the environment (http_proxy, https_proxy, no_proxy). Errors come in two kinds: `Refused` is final,
`TryAgain` may pass.
"""

from __future__ import annotations

import email.utils
import http.client
import socket
import ssl
import string
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import IO, Any
from urllib.parse import quote, urljoin, urlsplit

MOST_REDIRECTS = 5
BODY_STATUS = (200, 206)
PASSING = (408, 425, 429, 500, 502, 503, 504)  # what a server says when it may answer better later
LONGEST_RETRY_AFTER_S = 120.0
REDIRECTS = (301, 302, 303, 307, 308)


class Refused(ValueError):
    """The request will not be answered better by asking again."""


class TryAgain(Exception):
    """The request may be answered better later; `wait_s` is what the server asked for, None where it asked nothing."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


@dataclass(frozen=True)
class Answer:
    """What a server says: status, headers, and `read(n)`: at most n bytes of the body, none at its end."""

    status: int
    headers: Mapping[str, str]
    read: Callable[[int], bytes]


def check_url(url: str) -> None:
    """A Refused for what is no plain http or https address."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError as error:
        raise Refused(f"{url!r} is not an address ({error}); give one like https://host/Task04.tar") from None
    if parts.scheme not in ("http", "https") or not host:
        raise Refused(f"{url!r} is not an http or https address; give one like https://host/Task04.tar")
    if parts.username is not None or parts.password is not None:
        raise Refused("the address holds a user name or a password; give one without")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise Refused(f"{url!r} has characters that no address has; write them as %XX")


@contextmanager
def opened(url: str, headers: Mapping[str, str], timeout_s: float) -> Iterator[Answer]:
    """The server's answer to a GET, with status 200, 206 or 416.

    `timeout_s` bounds every single wait for bytes, and twice that the way from a connection to the end of the
    answer's headers. Refused: addresses, redirects, certificates and statuses that no repetition mends. TryAgain: the
    rest.
    """
    check_url(url)
    deadline = _Deadline(2 * timeout_s)
    request = urllib.request.Request(url, headers={"User-Agent": "decaseg", "Accept-Encoding": "identity", **headers})
    with _in_our_words(deadline):
        with deadline:
            response = _ask(_opener(deadline), request, timeout_s)
        with response:
            if deadline.words:  # headers that were cut look like headers that ended
                raise TryAgain(deadline.words)
            if response.status not in (*BODY_STATUS, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
                raise Refused(f"the server answered {response.status}, without a file; check the address")
            yield Answer(response.status, response.headers, partial(_read, response))


def _read(response: Any, count: int) -> bytes:
    """The next bytes as soon as there are any; none at the end, TryAgain where the connection breaks."""
    try:
        return response.read1(count)
    except (http.client.HTTPException, OSError, ValueError) as error:  # ValueError: a chunk's size that is no number
        raise TryAgain(_words(error)) from None


def _ask(opener: urllib.request.OpenerDirector, request: urllib.request.Request, timeout_s: float) -> Any:
    try:
        return opener.open(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return _Empty(error)
        error.close()
        said = f"the server answered {error.code} ({_phrase(error.code)})"
        if error.code in PASSING:
            raise TryAgain(said, _retry_after(said, error.headers.get("Retry-After"))) from None
        raise Refused(f"{said}{_advice(error.code)}") from None


class _Empty:
    """An error's answer as one without a body."""

    def __init__(self, error: urllib.error.HTTPError) -> None:
        self.status, self.headers, self.error = error.code, error.headers, error

    def read1(self, _count: int) -> bytes:
        return b""

    def __enter__(self) -> _Empty:
        return self

    def __exit__(self, *_: object) -> None:
        self.error.close()


@contextmanager
def _in_our_words(deadline: _Deadline) -> Iterator[None]:
    """Turns what sockets, TLS and HTTP raise into Refused or TryAgain."""
    try:
        yield
    except (Refused, TryAgain):
        raise
    except urllib.error.URLError as error:
        reason = error.reason
        if isinstance(reason, ssl.SSLCertVerificationError):
            text = f"its certificate is not trusted ({reason.verify_message}); if a proxy of your house replaces it"
            raise Refused(f"{text}, set SSL_CERT_FILE to the house's certificates") from None
        if isinstance(reason, socket.gaierror) and reason.errno != socket.EAI_AGAIN:
            advice = "check the address, the network, and whether a proxy (https_proxy) is needed"
            raise Refused(f"the host is not known ({reason.strerror}); {advice}") from None
        if str(reason).startswith("Tunnel connection failed: 4"):
            raise Refused(f"the proxy does not let you through ({reason}); check https_proxy") from None
        raise TryAgain(deadline.words or _words(reason)) from None
    except (http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        raise TryAgain(deadline.words or _words(error)) from None


def _words(reason: object) -> str:
    if isinstance(reason, TimeoutError):
        return "the connection stalled"
    if isinstance(reason, http.client.IncompleteRead | ConnectionResetError | http.client.RemoteDisconnected):
        return "the connection was cut"
    if isinstance(reason, OSError) and reason.strerror:
        return f"the connection failed ({reason.strerror})"
    return f"the connection failed ({' '.join(repr(reason).split())[:120]})"


def _phrase(code: int) -> str:
    return HTTPStatus(code).phrase if code in {s.value for s in HTTPStatus} else "no usual status"


def _advice(code: int) -> str:
    if code in (404, 410):
        return "; it has no such file: check the address"
    if code in (401, 403, 407):
        return "; it does not let you in: check the address, and the proxy if there is one"
    return "; check the address"


def _retry_after(said: str, value: str | None) -> float | None:
    """Seconds that a server asks to wait; Refused where it asks for too long."""
    if value is None:
        return None
    try:
        if value.strip().isdecimal():
            wait_s = float(value)
        else:
            wait_s = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    if wait_s > LONGEST_RETRY_AFTER_S:
        raise Refused(f"{said} and asks to wait {wait_s:.0f} s; run the same command again then")
    return max(0.0, wait_s)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a few redirects, and only to addresses as safe as the one before."""

    max_redirections = MOST_REDIRECTS  # of all; and to one address
    max_repeats = 2

    def http_error_302(self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any) -> Any:
        place = headers.get("Location") or headers.get("URI")
        visited = getattr(req, "redirect_dict", {})
        if place is None:
            raise Refused(f"the server answered {code}, a redirect to nowhere; check the address")
        if sum(visited.values()) >= MOST_REDIRECTS:
            raise Refused(f"the server redirects in a loop, or more than {MOST_REDIRECTS} times; check the address")
        try:
            new = quote(urljoin(req.full_url, place), encoding="iso-8859-1", safe=string.punctuation)  # as urllib will
            scheme = urlsplit(new).scheme
        except ValueError:
            raise Refused(f"the server redirects to {place[:120]!r}, which is no address; check the address") from None
        if scheme not in ("http", "https"):
            raise Refused(f"the server redirects to {place[:120]!r}; only http and https are followed")
        if urlsplit(req.full_url).scheme == "https" and scheme == "http":
            raise Refused(f"the server redirects from https to {new[:120]!r}, which anybody on the way could change")
        check_url(new)
        fp.close()  # urllib would read its body to the end, however long it is
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except urllib.error.HTTPError as error:
            if error.code not in REDIRECTS:
                raise
            raise Refused("the server redirects in a loop; check the address") from None

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


class _Deadline:
    """Cuts the connections that are made inside it when its time is over, however slowly they still give bytes."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.words = seconds, ""
        self.sockets: list[socket.socket] = []

    def watch(self, made: socket.socket) -> None:
        self.sockets.append(made)

    def _cut(self) -> None:
        self.words = f"the server gave no whole answer within {self.seconds:g} s"
        for made in self.sockets:
            with suppress(OSError):
                socket.socket.shutdown(made, socket.SHUT_RDWR)  # the socket's own: TLS would wait

    def __enter__(self) -> None:
        self.timer = threading.Timer(self.seconds, self._cut)
        self.timer.daemon = True
        self.timer.start()

    def __exit__(self, *_: object) -> None:
        self.timer.cancel()


def _opener(deadline: _Deadline) -> urllib.request.OpenerDirector:
    """Of urllib's handlers only those for http and https: no file:, no ftp:, no data:."""

    class Plain(http.client.HTTPConnection):
        def connect(self) -> None:
            super().connect()
            deadline.watch(self.sock)

    class Tls(http.client.HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            deadline.watch(self.sock)

    class Handler(urllib.request.AbstractHTTPHandler):
        http_request = https_request = urllib.request.AbstractHTTPHandler.do_request_

        def http_open(self, request: urllib.request.Request) -> Any:
            return self.do_open(Plain, request)

        def https_open(self, request: urllib.request.Request) -> Any:
            return self.do_open(Tls, request, context=ssl.create_default_context())

    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
        Handler(),
    ):
        opener.add_handler(handler)
    return opener
