"""Real requests to a real server: what is in the table is answered, to this machine's own pages, and nothing else."""

from __future__ import annotations

import http.client
import json
import socket

import pytest

from decaseg.reporting.viewer.server import HEADERS, Answer, serving

TOKEN = "t0ken"


def refuse():
    raise ValueError("image.nii.gz: is damaged;\ncopy it again")


@pytest.fixture(scope="module")
def port():
    table = {"": lambda: Answer(b"page", "text/html"), "a.json": lambda: Answer.json({"x": 1}), "bad": refuse}
    with serving(table, token=TOKEN) as server:
        assert server.url == f"http://127.0.0.1:{server.port}/{TOKEN}/"
        yield server.port


def ask(port, path=f"/{TOKEN}/", method="GET", host=None, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    for name in [f"127.0.0.1:{port}"] if host is None else host:
        connection.putheader("Host", name)
    connection.putheader("Content-Length", str(len(body or b"")))
    connection.endheaders(body)
    answer = connection.getresponse()
    content = answer.read()
    for name, value in HEADERS.items():
        assert answer.headers[name] == value, "every answer, refusals too, has the protecting headers"
    return answer.status, content, answer.headers


def test_the_table_is_answered(port):
    assert ask(port)[:2] == (200, b"page")
    status, body, headers = ask(port, f"/{TOKEN}/a.json")
    assert (status, json.loads(body)) == (200, {"x": 1}) and headers["Content-Type"].startswith("application/json")


def test_head_gives_the_length_alone(port):
    status, body, headers = ask(port, method="HEAD")
    assert (status, body, headers["Content-Length"]) == (200, b"", "4")


@pytest.mark.parametrize(
    "path",
    [
        "/", f"/{TOKEN}", "/wrong/", "/wrong/a.json", f"/{TOKEN}/.", f"/{TOKEN}/../{TOKEN}/", f"/{TOKEN}/%61.json",
        f"/{TOKEN}/a.json?x=1", f"/{TOKEN}//etc/passwd", f"/{TOKEN}/../../../../etc/passwd",
        "/favicon.ico", f"http://127.0.0.1/{TOKEN}/",
    ],
)  # fmt: skip
def test_there_is_nothing_beside_the_table(port, path):
    status, body, _ = ask(port, path)
    assert status == 404 and b"root:" not in body


@pytest.mark.parametrize("host", [["evil.example"], ["evil.example:{}"], ["127.0.0.1"], ["127.0.0.1:{}", "evil"], []])
def test_another_name_is_refused_as_rebound_dns_would_send_it(port, host):
    assert ask(port, host=[name.format(port) for name in host])[0] == 403


def test_localhost_is_a_name_of_it(port):
    assert ask(port, host=[f"localhost:{port}"])[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "BREW"])
def test_other_methods_are_refused(port, method):
    status, _, headers = ask(port, method=method, body=b"x=1")
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_what_cannot_be_shown_is_one_line(port):
    assert ask(port, f"/{TOKEN}/bad")[:2] == (422, b"image.nii.gz: is damaged; copy it again\n")


def test_no_http_is_refused_and_the_server_lives_on(port):
    for junk in (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /" + b"a" * 70000 + b"\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
            raw.sendall(junk)
            raw.recv(4096)
    assert ask(port)[0] == 200


def test_it_listens_on_loopback_alone(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: only asks which address would be used
            own = probe.getsockname()[0]
        except OSError:
            pytest.skip("this machine has no address but loopback")
    with pytest.raises(OSError):
        socket.create_connection((own, port), timeout=3)


def test_the_token_is_new_and_long_each_time():
    urls = []
    for _ in range(2):
        with serving({}) as server:
            urls.append(server.url.split("/")[3])
    assert urls[0] != urls[1] and min(map(len, urls)) >= 32


def test_a_taken_port_is_an_error_and_an_ended_server_is_gone():
    with serving({}) as server, pytest.raises(OSError), serving({}, server.port):
        pass
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.port), timeout=3)
