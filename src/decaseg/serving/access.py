"""Who may ask: the token, the address that is listened on, and requests that another site's page makes."""

from __future__ import annotations

import hmac
import ipaddress
import os
import socket
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from decaseg.serving.refusal import Refusal

TOKEN_CHARACTERS = 32  # of base64 or hexadecimal digits: 128 bits or more
TOKEN_BYTES = 4096
MAKE_ONE = "make one with: (umask 077; openssl rand -hex 32 > token)"
OPEN_PATHS = ("/health", "/ready")
# Without a word about the model or a patient: pages ask for the token, and 3D Slicer logs in with it.
PAGE_PATHS = ("/", "/docs", "/auth", "/auth/", "/auth/token")
READING = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Access:
    """`token` None: everybody who can connect may ask, which is allowed on loopback only. `hosts` are lower case."""

    token: bytes | None
    hosts: frozenset[str]

    def check(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        """Refusal (401, 403 or 421) for a request that may not be answered."""
        host = headers.get("host", "")
        if not self._knows(host):
            raise Refusal(421, "unknown_host", "the Host header names another server; see decaseg serve --allow-host")
        if method not in READING and not _same_site(host, headers):
            raise Refusal(403, "cross_site", "requests from another site's page are refused")
        given = headers.get("authorization")
        if path in OPEN_PATHS or self.token is None:
            return
        if given is None and (path in PAGE_PATHS or path.startswith("/pages/")):
            return
        if not self._is_token(given):
            raise Refusal(401, "unauthorized", "send the server's token: Authorization: Bearer TOKEN")

    def _is_token(self, given: str | None) -> bool:
        kind, _, value = (given or "").partition(" ")
        right = hmac.compare_digest(value.strip().encode("utf-8", "surrogateescape"), self.token or b"")
        return kind.lower() == "bearer" and right

    def is_password(self, given: str) -> bool:
        """Is it the token, sent as a password (3D Slicer's login)?"""
        return self.token is not None and hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self.token)

    def _knows(self, host: str) -> bool:
        """A page whose site's name was made to lead here (DNS rebinding) sends that name; numbers cannot be."""
        name = host_name(host)
        return name in self.hosts or _is_number(name)


def make_access(host: str, token_file: Path | None, allowed: Sequence[str]) -> Access:
    """ValueError, naming option or file, for an address beyond loopback without a token, or for a bad token file."""
    loopback = is_loopback(host)
    if not loopback and token_file is None:
        raise ValueError(f"--host {host}: is reachable from other machines; give --token-file FILE ({MAKE_ONE})")
    names = {"localhost", *(name.lower() for name in allowed)}
    if not loopback:
        names |= {host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}
    return Access(None if token_file is None else read_token(token_file), frozenset(names))


def read_token(path: Path) -> bytes:
    """The token in a file that only its owner can read; ValueError says what is wrong with it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_NOFOLLOW", 0))
    except OSError as error:
        reason = "is a link" if path.is_symlink() else f"cannot be read ({error.strerror})"
        raise ValueError(f"--token-file {path}: {reason}; name a file that only you can read") from None
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        os.close(descriptor)
        raise ValueError(f"--token-file {path}: is no file; {MAKE_ONE}")
    with os.fdopen(descriptor, "rb") as file:
        if facts.st_mode & 0o077:
            mode = stat.S_IMODE(facts.st_mode)
            raise ValueError(f"--token-file {path}: others may read it (mode {mode:o}); chmod 600 {path}")
        if facts.st_uid != os.geteuid():
            raise ValueError(f"--token-file {path}: belongs to another user; chown it to the one that serves")
        token = file.read(TOKEN_BYTES + 1).strip()
    if not TOKEN_CHARACTERS <= len(token) <= TOKEN_BYTES:
        wrong = f"holds {len(token)} characters" if len(token) <= TOKEN_BYTES else "is too long"
        raise ValueError(f"--token-file {path}: {wrong}; a token has {TOKEN_CHARACTERS} or more; {MAKE_ONE}")
    if not all(33 <= byte < 127 for byte in token) or len(set(token)) < 8:
        raise ValueError(f"--token-file {path}: holds no random characters without spaces; {MAKE_ONE}")
    return token


def is_loopback(host: str) -> bool:
    """Does the address lead to this machine only? A name counts by all it resolves to."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        pass
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        raise ValueError(f"--host {host}: no such address; name one of this machine's, such as 127.0.0.1") from None
    return all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in found)


def host_name(host: str) -> str:
    """`Seg.example:8000` -> `seg.example`; `[::1]:8000` -> `::1`."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).rstrip(".")


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _same_site(host: str, headers: Mapping[str, str]) -> bool:
    """Browsers say where a request comes from, and their pages cannot change it; programs say nothing."""
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2].lower() == host.strip().lower()
