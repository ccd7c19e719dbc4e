"""Fetching from a real server that cuts, lies, stalls, redirects and sends garbage."""

import email.utils
import hashlib
import random
import time
from dataclasses import replace

import pytest

from decaseg.storage.fetch import Patience, Watcher, fetch
from decaseg.storage.part import Source
from decaseg.storage.tar import kind_of
from decaseg.storage.web import Refused
from tests.storage.web_server import (
    chunked,
    drip_headers,
    garbage,
    no_http,
    redirect,
    says_length,
    serving,
    stall,
    status,
    whole,
    wrong_range,
)  # fmt: skip

BODY = b"\x1f\x8b" + random.Random(0).randbytes(200_000)  # as gzip begins
OTHER = b"\x1f\x8b" + random.Random(1).randbytes(180_000)
CALM = Patience(timeout_s=300, retries=3, wait_s=0.01, longest_wait_s=0.05)
QUICK = replace(CALM, timeout_s=0.5)  # for servers that stall: a busy machine is not to be taken for one
PAGE = b"<!DOCTYPE html><html>log in to the network</html>" * 30
OLD, NEW = "Wed, 21 Oct 2015 07:28:00 GMT", "Thu, 22 Oct 2015 07:28:00 GMT"


class Told:
    def __init__(self):
        self.words, self.sizes = [], []
        kind = lambda head: f"the server sent {kind_of(head)}" if kind_of(head) else ""  # noqa: E731
        self.watcher = Watcher(lambda *_: None, self.words.append, lambda *size: self.sizes.append(size), kind)

    def __contains__(self, text):
        return any(text in word for word in self.words)


def fetched(site, folder, patience=CALM, url=None, **sums):
    """The bytes that came, and what was said on the way."""
    told = Told()
    found = fetch(Source(url or site.url, **sums), folder, patience, told.watcher)
    got = found.path.read_bytes()
    assert found.size_bytes == len(got) and found.md5 == hashlib.md5(got).hexdigest()
    return got, told


def refused(site, folder, patience=CALM, url=None, **sums):
    """What a fetch that fails says."""
    began = time.monotonic()
    with pytest.raises(Refused) as raised:
        fetch(Source(url or site.url, **sums), folder, patience, Told().watcher)
    assert time.monotonic() - began < 60  # a header that never ends would take 80
    assert len(str(raised.value).splitlines()) == 1 and str(raised.value).startswith("http")
    return str(raised.value)


@pytest.mark.parametrize(
    "acts",
    [
        [whole()],
        [whole(cut=50_000), whole()],
        [whole(cut=3), whole(cut=0), whole()],
        [whole(cut=7_001)],  # every connection is cut
        [whole(cut=50_000, ranges=False), whole(ranges=False)],
        [whole(cut=50_000, etag=False, modified=OLD), whole(etag=False, modified=OLD)],
        [whole(cut=50_000, etag=False), whole(etag=False)],
        [whole(cut=50_000), status(503), status(500), whole()],
        [whole(cut=50_000), no_http, whole()],
        [whole(cut=50_000), garbage(PAGE), whole()],
        [says_length(len(BODY) + 1000), whole()],
        [says_length(None)],
        [chunked],
        [wrong_range, wrong_range, whole()],
        [status(429, Retry_After=0), whole()],
        [status(503, Retry_After="soon"), whole()],
    ],
)
def test_the_whole_file_comes_however_the_server_behaves(tmp_path, acts):
    with serving(BODY, *acts) as site:
        assert fetched(site, tmp_path)[0] == BODY


@pytest.mark.parametrize(
    "acts",
    [
        [whole(cut=50_000), stall(seconds=30), whole()],
        [stall(after=30_000, seconds=30), whole()],
        [drip_headers, whole()],
    ],
)
def test_the_whole_file_comes_where_the_server_stalls(tmp_path, acts):
    with serving(BODY, *acts) as site:
        assert fetched(site, tmp_path, QUICK)[0] == BODY


def test_only_what_is_missing_is_asked_for(tmp_path):
    with serving(BODY, whole(cut=50_000), whole()) as site:
        fetched(site, tmp_path)
        assert "Range" not in site.asked[0]
        assert site.asked[1]["Range"] == "bytes=50000-" and site.asked[1]["If-Range"].startswith('"')


def test_a_later_run_goes_on_and_asks_nothing_once_it_is_complete(tmp_path):
    sums = {"md5": hashlib.md5(BODY).hexdigest(), "sha256": hashlib.sha256(BODY).hexdigest()}
    with serving(BODY, whole(cut=60_000), *[status(500)] * 4, whole()) as site:
        assert "60,000 bytes are kept" in refused(site, tmp_path)
        told = Told()
        found = fetch(Source(site.url, **sums), tmp_path, CALM, told.watcher)
        assert found.there_before_bytes == 60_000 and found.path.read_bytes() == BODY
        assert site.asked[-1]["Range"] == "bytes=60000-" and found.sha256 == sums["sha256"]
        assert told.sizes[-1] == (len(BODY), 60_000)
        asked = len(site.asked)
        assert fetched(site, tmp_path, **sums)[0] == BODY and len(site.asked) == asked


@pytest.mark.parametrize("marks", [{}, {"etag": False, "modified": NEW}], ids=["etag", "date"])
def test_a_file_that_changed_is_fetched_from_the_beginning(tmp_path, marks):
    before = {"etag": False, "modified": OLD} if marks else {}
    with serving(BODY, whole(cut=60_000, **before), whole(other=OTHER, **marks)) as site:
        got, told = fetched(site, tmp_path)
        assert got == OTHER and "from the beginning" in told


@pytest.mark.parametrize("marks", [{}, {"etag": False, "modified": NEW}], ids=["etag", "date"])
def test_a_server_that_heeds_no_condition_is_found_out_by_what_it_says_of_the_file(tmp_path, marks):
    before = {"etag": False, "modified": OLD} if marks else {}
    other = OTHER + bytes(len(BODY) - len(OTHER))
    with serving(BODY, whole(cut=60_000, **before), whole(other=other, conditions=False, **marks)) as site:
        assert fetched(site, tmp_path)[0] == other


def test_a_change_that_the_server_hides_is_found_by_the_checksum(tmp_path):
    """Without ETag and date nobody knows that the second half is another file's; the MD5 does."""
    other = OTHER + bytes(len(BODY) - len(OTHER))
    acts = [whole(cut=60_000, etag=False), whole(etag=False, other=other), whole(etag=False, other=other)]
    with serving(BODY, *acts) as site:
        got, told = fetched(site, tmp_path, md5=hashlib.md5(other).hexdigest())
        assert got == other and "once more from the beginning" in told
        assert site.asked[1]["Range"] == "bytes=60000-" and "Range" not in site.asked[2]


def test_nothing_is_resumed_without_a_way_to_know_that_it_is_the_same(tmp_path):
    with serving(BODY, whole(cut=60_000, etag=False), whole(etag=False)) as site:
        assert fetched(site, tmp_path)[0] == BODY
        assert "Range" not in site.asked[1]


@pytest.mark.parametrize("name", ["md5", "sha256"])
def test_a_wrong_checksum_is_refused_and_nothing_of_it_kept(tmp_path, name):
    digits = hashlib.new(name, OTHER).hexdigest()
    with serving(BODY) as site:
        said = refused(site, tmp_path, **{name: digits})
        assert digits in said and hashlib.new(name, BODY).hexdigest() in said
    assert not list(tmp_path.iterdir())


def test_a_length_that_is_too_short_gives_that_much(tmp_path):
    """The archive's own end, or a checksum, finds it; here nothing can."""
    with serving(BODY, says_length(1000)) as site:
        assert fetched(site, tmp_path)[0] == BODY[:1000]
        assert "MD5" in refused(site, tmp_path / "..", md5=hashlib.md5(BODY).hexdigest())


@pytest.mark.parametrize(
    ("acts", "says"),
    [
        ([status(404)], "404 (Not Found); it has no such file"),
        ([status(403)], "403 (Forbidden); it does not let you in"),
        ([status(204)], "204, without a file"),
        ([status(416)], "416"),
        ([status(500)], "500 (Internal Server Error), 4 times in a row"),
        ([status(503, Retry_After=100_000)], "asks to wait 100000 s"),
        ([garbage(PAGE)], "sent a web page"),
        ([garbage(b"PK\x03\x04" + bytes(600))], "sent a zip archive"),
        ([garbage(b"no such thing")], "sent something else"),
        ([no_http], "4 times in a row"),
        ([says_length(len(BODY) + 1000)], f"cut at {len(BODY):,} of {len(BODY) + 1000:,} bytes, 4 times"),
        ([wrong_range], "4 times in a row"),
        ([redirect("file:///etc/passwd")], "redirects to 'file:///etc/passwd'; only http and https"),
        ([redirect("ftp://127.0.0.1/a.tar")], "only http and https"),
        ([redirect("data:,x")], "only http and https"),
        ([redirect("/set.tar")], "in a loop"),
        ([redirect(f"/{n}") for n in range(9)], "in a loop, or more than 5 times"),
        ([redirect("http://user:word@127.0.0.1/")], "user name"),
        ([redirect("http://[::1/")], "no address"),
        ([status(302)], "redirect to nowhere"),
        ([redirect("/a b/\xe9.tar"), status(404)], "404"),
    ],
)  # fmt: skip
def test_what_no_repetition_mends_is_one_line(tmp_path, acts, says):
    with serving(BODY, *acts) as site:
        assert says in refused(site, tmp_path)


@pytest.mark.parametrize(
    ("acts", "says"),
    [
        ([stall(seconds=30)], "stalled, 4 times in a row"),
        ([stall(after=1000, seconds=30)], "4 times in a row; 1,000 bytes are kept"),
        ([drip_headers], "no whole answer within 1 s, 4 times in a row"),
    ],
)
def test_a_server_that_stalls_is_given_up_in_one_line(tmp_path, acts, says):
    with serving(BODY, *acts) as site:
        assert says in refused(site, tmp_path, QUICK)


def test_a_redirect_to_a_good_place_is_followed_and_resumed(tmp_path):
    with serving(BODY, redirect("/other.tar"), whole(cut=50_000), redirect("/other.tar", 307), whole()) as site:
        assert fetched(site, tmp_path)[0] == BODY
        assert [asked["path"] for asked in site.asked] == ["/set.tar", "/other.tar"] * 2
        assert site.asked[-1]["Range"] == "bytes=50000-"


def test_a_server_that_sends_too_slowly_is_given_up(tmp_path):
    slow = Patience(timeout_s=300, retries=1, wait_s=0, slowest_bytes_per_s=5000, slow_window_s=0.3)
    with serving(BODY, whole(rate=1000)) as site:
        assert "less than 5000 bytes a second, 2 times in a row" in refused(site, tmp_path, slow)


def test_what_a_server_asks_to_wait_is_waited(tmp_path):
    began, at = time.monotonic(), email.utils.formatdate(time.time() + 2, usegmt=True)
    with serving(BODY, status(503, Retry_After=at), whole()) as site:
        assert fetched(site, tmp_path)[0] == BODY
        assert time.monotonic() - began > 0.9


def test_a_proxy_of_the_environment_is_used(tmp_path, monkeypatch):
    with serving(BODY) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        assert fetched(proxy, tmp_path, url="http://data.invalid/set.tar")[0] == BODY
        assert proxy.asked[0]["path"] == "http://data.invalid/set.tar"


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://a/b",
        "set.tar",
        "http://",
        "http://a:b@c/",
        "http://a/ b",
        "http://[::1",
        "http://h:x/",
    ],
)
def test_an_address_that_is_none_is_refused(tmp_path, url):
    with pytest.raises(Refused):
        fetch(Source(url), tmp_path, QUICK, Told().watcher)


@pytest.mark.parametrize(
    "left", ["", "{", "[]", '{"url": 3}', '{"url": "URL", "synced": 10}', '{"url": "URL", "x": 1}']
)
def test_a_damaged_note_of_an_earlier_run_means_from_the_beginning(tmp_path, left):
    with serving(BODY) as site:
        (tmp_path / "archive.json").write_text(left.replace("URL", site.url))
        (tmp_path / "archive.part").write_bytes(b"x" * 500)
        assert fetched(site, tmp_path)[0] == BODY
        assert "Range" not in site.asked[0]


def test_a_part_from_another_address_is_not_gone_on_with(tmp_path):
    with serving(OTHER, whole(cut=60_000), status(404)) as one, serving(BODY) as two:
        refused(one, tmp_path)
        got, told = fetched(two, tmp_path)
        assert got == BODY and "another address" in told


def test_bytes_that_were_not_on_the_disk_are_not_believed(tmp_path):
    """After a power cut a file may be longer than what was written: only what archive.json vouches for is kept."""
    with serving(BODY, whole(cut=60_000), status(404), whole()) as site:
        refused(site, tmp_path)
        with (tmp_path / "archive.part").open("ab") as file:
            file.write(bytes(30_000))
        assert fetched(site, tmp_path)[0] == BODY
        assert site.asked[-1]["Range"] == "bytes=60000-"
