"""Who may ask: token files, addresses, hosts and other sites' pages."""

import os

import pytest

from decaseg.serving.access import Access, host_name, is_loopback, make_access, read_token
from decaseg.serving.refusal import Refusal

TOKEN = "0123456789abcdef" * 4


def token_file(tmp_path, text=TOKEN, mode=0o600):
    path = tmp_path / "token"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_token_is_read_without_its_line_end(tmp_path):
    assert read_token(token_file(tmp_path, TOKEN + "\n")) == TOKEN.encode()


@pytest.mark.parametrize(
    ("text", "mode", "says"),
    [
        (TOKEN, 0o640, "others may read it"),
        (TOKEN, 0o604, "others may read it"),
        ("short", 0o600, "holds 5 characters"),
        ("", 0o600, "holds 0 characters"),
        ("a" * 64, 0o600, "no random characters"),
        (TOKEN + " " + TOKEN, 0o600, "no random characters"),
        (TOKEN * 200, 0o600, "too long"),
    ],
)
def test_a_token_file_that_is_not_safe_is_refused(tmp_path, text, mode, says):
    with pytest.raises(ValueError, match=says):
        read_token(token_file(tmp_path, text, mode))


def test_a_token_file_is_a_regular_file(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(token_file(tmp_path))
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path, says in ((link, "is a link"), (tmp_path / "pipe", "is no file"), (tmp_path, "is no file"),
                       (tmp_path / "none", "cannot be read")):  # fmt: skip
        with pytest.raises(ValueError, match=says):
            read_token(path)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost"])
def test_loopback(host):
    assert is_loopback(host) and make_access(host, None, ()).token is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "192.168.1.7", ""])
def test_beyond_loopback_needs_a_token(host, tmp_path):
    with pytest.raises(ValueError, match="--token-file"):
        make_access(host or "0.0.0.0", None, ())
    assert make_access(host or "0.0.0.0", token_file(tmp_path), ()).token == TOKEN.encode()


def test_host_names():
    assert host_name("Seg.Example:8000") == "seg.example"
    assert host_name("[::1]:8000") == "::1"
    assert host_name("::1") == "::1" or host_name("::1") == ":"  # no browser sends that
    assert host_name("127.0.0.1") == "127.0.0.1"


def status(access, method="GET", path="/jobs/1", **headers):
    try:
        access.check(method, path, {"host": "localhost:8000", **{k.replace("_", "-"): v for k, v in headers.items()}})
    except Refusal as refusal:
        return refusal.status
    return 200


OPEN = Access(None, frozenset({"localhost", "seg.example"}))
CLOSED = Access(TOKEN.encode(), frozenset({"localhost"}))


@pytest.mark.parametrize(
    ("host", "wanted"),
    [("localhost", 200), ("localhost:99", 200), ("127.0.0.1:1", 200), ("[::1]:8000", 200), ("SEG.example", 200),
     ("evil.example", 421), ("evil.example:8000", 421), ("localhost.evil.example", 421),
     ("127.0.0.1.evil.example", 421), ("", 421)],
)  # fmt: skip
def test_names_that_were_made_to_lead_here_are_refused(host, wanted):
    assert status(OPEN, host=host) == wanted


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({}, 200),
        ({"origin": "http://localhost:8000"}, 200),
        ({"origin": "https://localhost:8000"}, 200),
        ({"origin": "http://localhost:8000", "sec_fetch_site": "same-origin"}, 200),
        ({"origin": "http://localhost:9999"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": ""}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_other_sites_pages_change_nothing(method, headers, wanted):
    assert status(OPEN, method, **headers) == wanted


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
        (f"Bearer {TOKEN}0", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        ("Bearer ", 401),
        ("Bearer \udcff", 401),
        (f"Basic {TOKEN}", 401),
        (TOKEN, 401),
    ],
)
def test_tokens(given, wanted):
    assert status(CLOSED, authorization=given) == wanted
    assert status(CLOSED, "POST", "/predict", authorization=given) == wanted
    assert status(CLOSED, path="/", authorization=given) == wanted


def test_what_is_open_without_a_token():
    assert [status(CLOSED, path=path) for path in ("/health", "/ready", "/", "/docs", "/pages/index.js")] == [200] * 5
    closed = ("/model", "/metrics", "/info/", "/logs/", "/openapi.json", "/jobs/x", "/predict", "/pagesx",
              "//health", "/auth/token/valid")  # fmt: skip
    assert {status(CLOSED, path=path) for path in closed} == {401}
