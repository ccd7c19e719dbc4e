"""`decaseg download` where disks fill up, calls fail, servers stall, others are in its way, and where it is killed."""

import errno
import io
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.storage.small_disk import small_disk
from tests.storage.web_server import serving, stall, whole
from tests.workflows.test_download import NAME, archive_of, download, is_whole, is_whole_at, left, packed

__all__ = ["packed"]  # the fixture


def test_too_little_space_is_said_in_numbers_before_a_byte_is_fetched(packed, tmp_path, capsys):
    with small_disk(tmp_path / "disk", kib=len(packed) * 2 // 1024) as disk, serving(packed) as site:
        assert download(site, disk) == 2
        err = capsys.readouterr().err.splitlines()[-1]
        assert "are needed" in err and "to fetch and about" in err and "are free" in err and "--root" in err
        assert left(disk) == []


@pytest.mark.parametrize("share", [0.3, 0.6, 1.4, 1.8])
def test_a_disk_that_fills_up_keeps_what_there_is(packed, tmp_path, capsys, monkeypatch, share):
    """As if others wrote meanwhile: the question for free space is answered too well."""
    monkeypatch.setattr("decaseg.workflows.download._need", lambda *_: None)
    with small_disk(tmp_path / "disk", kib=int(len(packed) * share) // 1024) as disk, serving(packed) as site:
        assert download(site, disk) == 2
        assert "the disk is full" in capsys.readouterr().err.splitlines()[-1]
        assert NAME not in left(disk)
        subprocess.run(["mount", "-o", f"remount,size={len(packed) * 4 // 1024}k", disk], check=True)
        assert download(site, disk) == 0 and is_whole(disk)


def test_a_read_only_disk_is_one_line(packed, tmp_path, capsys):
    with small_disk(tmp_path / "disk", kib=100, read_only=True) as disk, serving(packed) as site:
        assert download(site, disk) == 2
    assert "Read-only file system" in capsys.readouterr().err.splitlines()[-1]


def start(site, root, *more):
    words = [sys.executable, "-m", "decaseg", "download", "4", "--root", root, "--url", site.url, *more]
    return subprocess.Popen([*map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_second_download_of_the_same_is_refused_while_the_first_goes_on(packed, tmp_path, capsys):
    with serving(packed, stall(after=1000, seconds=600), whole()) as site:
        first = start(site, tmp_path, "--timeout", 600)
        try:
            while not site.asked and first.poll() is None:
                time.sleep(0.02)
            assert download(site, tmp_path) == 2 and len(site.asked) == 1
            assert "another decaseg download" in capsys.readouterr().err
        finally:
            first.send_signal(signal.SIGINT)
            err = first.communicate()[1]
        assert first.returncode == 130 and "run the same command again" in err and "Traceback" not in err
        assert download(site, tmp_path) == 0 and is_whole(tmp_path)


def test_a_stalled_server_is_given_up_within_the_stated_time(packed, tmp_path, capsys):
    with serving(packed, stall(after=1000, seconds=600)) as site:
        began = time.monotonic()
        assert download(site, tmp_path, "--timeout", 1, "--retries", 1) == 2
        assert 2 * 1 + 1 <= time.monotonic() - began < 100  # two waits and a pause; room for a busy machine
    assert "stalled, 2 times in a row" in capsys.readouterr().err.splitlines()[-1]


def test_killed_at_random_moments_the_rerun_completes(packed, tmp_path):
    """Real processes and SIGKILL; the data set is absent or whole after every one of them."""
    draw, seconds = random.Random(3), 1.0
    with serving(packed, whole(rate=len(packed) / seconds)) as site:
        for _ in range(5):
            process = start(site, tmp_path)
            time.sleep(draw.uniform(0.2, 2.0 * seconds))
            process.kill()
            process.communicate()
            assert not (tmp_path / NAME).exists() or is_whole(tmp_path)
        assert download(site, tmp_path) == 0
    assert is_whole(tmp_path) and left(tmp_path) == [NAME]


@pytest.mark.parametrize("point", ["unpack", "_put", "rmtree"])
def test_killed_at_each_turn_the_rerun_completes(packed, tmp_path, point):
    """The process ends without any clean-up as it begins to unpack, to rename, to remove its own folder."""
    place = "shutil.rmtree" if point == "rmtree" else f"workflow.{point}"
    first = "real(*words, **more); " if point == "unpack" else ""
    script = (
        "import os, shutil, sys\nfrom decaseg.workflows import download as workflow\n"
        f"real, calls = {place}, []\n"
        "def die(*words, **more):\n"
        "    calls.append(1)\n"
        f"    if {point != 'rmtree'} or len(calls) > 1: {first}os._exit(9)\n"
        "    return real(*words, **more)\n"
        f"{place} = die\n"
        "from pathlib import Path\nworkflow.run('4', Path(sys.argv[1]), sys.argv[2])\n"
    )
    with serving(packed) as site:
        ended = subprocess.run([sys.executable, "-c", script, str(tmp_path), site.url], capture_output=True)
        assert ended.returncode == 9, ended.stderr
        assert (tmp_path / NAME).exists() == (point == "rmtree")
        asked = len(site.asked)
        assert download(site, tmp_path) == 0 and len(site.asked) == asked  # what was fetched is not fetched again
    assert is_whole(tmp_path) and left(tmp_path) == [NAME]


CALLS = ((io, "open"), (os, "open"), (os, "fsync"), (os, "replace"), (os, "rename"), (os, "mkdir"), (os, "unlink"))


def fail_at(number, monkeypatch):
    """Makes the `number`-th of all calls that touch the disk fail; returns a list of the calls made."""
    made = []

    def failing(real, name):
        def call_or_fail(*words, **more):
            if threading.current_thread() is threading.main_thread():
                made.append(name)
                if len(made) == number:
                    raise OSError(errno.EIO, "Input/output error")
            return real(*words, **more)

        return call_or_fail

    for module, name in CALLS:
        monkeypatch.setattr(module, name, failing(getattr(module, name), name))
    return made


def test_whichever_call_to_the_disk_fails_the_data_set_is_whole_or_absent(tmp_path, capsys, monkeypatch):
    """Every call in turn; the rerun completes, and a data set that was there before is still there."""
    with serving(archive_of(tmp_path / "made", cases=1)) as site:
        with monkeypatch.context() as patched:
            made = fail_at(0, patched)
            assert download(site, tmp_path / "count") == 0
        assert len(made) > 25 and {name for _, name in CALLS} - {"rename"} <= set(made)
        for number in range(1, len(made) + 1):
            root = tmp_path / str(number)
            with monkeypatch.context() as patched:
                fail_at(number, patched)
                code = download(site, root)
            said = capsys.readouterr().err
            assert code in (0, 2) and "Traceback" not in said and "internal" not in said, (number, made[number - 1])
            assert is_whole(root, 1) if code == 0 else not (root / NAME).exists() or is_whole(root, 1), number
            assert download(site, root) == 0 and is_whole(root, 1), (number, made[number - 1])
            assert left(root) in ([NAME], [f".{NAME}.download", NAME]), left(root)
        root = tmp_path / "forced"
        assert download(site, root) == 0
        for number in range(1, len(made) + 2, 4):
            with monkeypatch.context() as patched:
                fail_at(number, patched)
                download(site, root, "--force")
            assert any(is_whole_at(root / name, 1) for name in left(root) if name[0] != "."), number
            assert download(site, root) == 0 and is_whole(root, 1), number


def test_what_others_put_in_its_way_is_not_followed(packed, tmp_path, capsys):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f".{NAME}.download").symlink_to(tmp_path / "elsewhere")
    with serving(packed) as site:
        assert download(site, tmp_path) == 2 and not site.asked
    assert "is not a folder of decaseg download" in capsys.readouterr().err
    assert left(tmp_path / "elsewhere") == []
