"""TLS: certificates are checked, and nothing leads from https to http."""

import shutil
import subprocess

import pytest

from decaseg.storage.web import Refused, TryAgain, opened
from tests.storage.web_server import redirect, serving, status, whole


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that nobody has signed, with its key, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(["openssl", *words.split(), "-keyout", path, "-out", path.with_suffix(".crt")],
                   check=True, capture_output=True)  # fmt: skip
    path.write_bytes(path.read_bytes() + path.with_suffix(".crt").read_bytes())
    return path


def read(url):
    with opened(url, {}, 5) as answer:
        return answer.read(100)


def test_a_certificate_that_nobody_trusts_is_refused(certificate):
    with serving(b"body", whole(), certificate=certificate) as site, pytest.raises(Refused, match="SSL_CERT_FILE"):
        read(site.url)


def test_one_that_the_house_trusts_is_taken(certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_suffix(".crt")))
    with serving(b"body", whole(), certificate=certificate) as site:
        assert read(site.url) == b"body"


def test_https_does_not_lead_to_http_but_http_may_to_https(certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_suffix(".crt")))
    with serving(b"body") as plain, serving(b"", redirect(plain.url), certificate=certificate) as secret:
        with pytest.raises(Refused, match="from https to 'http://"):
            read(secret.url)
        assert not plain.asked
    with serving(b"safe", whole(), certificate=certificate) as secret, serving(b"", redirect(secret.url)) as first:
        assert read(first.url) == b"safe"


def test_a_proxy_that_refuses_is_named(monkeypatch):
    with serving(b"", status(407)) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        with pytest.raises(Refused, match=r"407 Proxy Authentication Required.*check https_proxy"):
            read("https://data.invalid/set.tar")


def test_tls_that_breaks_off_is_tried_again_and_not_a_crash(certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_suffix(".crt")))
    with serving(b"body", whole()) as plain, pytest.raises(TryAgain):
        read(plain.url.replace("http:", "https:"))
