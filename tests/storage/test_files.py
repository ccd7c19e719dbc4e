"""Files are the complete new ones or the old ones, and errors say which file and why."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from decaseg.storage.files import read_json, replacing, write_bytes, write_json, write_text
from tests.storage.small_disk import small_disk


def test_new_file_is_there_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "deep" / "a.json", "1")
    write_text(tmp_path / "deep" / "a.json", "zwei – 2")
    assert (tmp_path / "deep" / "a.json").read_text(encoding="utf-8") == "zwei – 2"
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["a.json"]


def test_temporary_keeps_the_suffix_that_writers_go_by(tmp_path: Path) -> None:
    with replacing(tmp_path / "case.1.nii.gz") as temporary:
        assert temporary.name.endswith(".nii.gz") and temporary.name.startswith(".")
        temporary.write_bytes(b"x")


@pytest.mark.parametrize("error", [RuntimeError("halfway"), KeyboardInterrupt(), OSError(5, "Input/output error")])
def test_exception_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(type(error)), replacing(path) as temporary:
        temporary.write_text("half of the ne")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_kill_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    program = (
        "import sys, time; from pathlib import Path; from decaseg.storage.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as t:\n"
        "    t.write_text('half'); print('ready', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline() == b"ready\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert path.read_text() == "old"


def test_readers_never_see_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_bytes(path, b"a" * 1_000_000)
    program = (
        "import sys; from pathlib import Path; from decaseg.storage.files import write_bytes\n"
        "for i in range(40): write_bytes(Path(sys.argv[1]), bytes([97 + i % 2]) * 1_000_000)"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(path)])
    while child.poll() is None:
        data = path.read_bytes()
        assert len(data) == 1_000_000 and len(set(data)) == 1
    assert child.wait() == 0


def test_full_disk_names_the_file_and_keeps_the_old_one(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 64) as disk:
        path = disk / "a.bin"
        write_bytes(path, b"old" * 1000)
        with pytest.raises(OSError, match="No space left") as caught:
            write_bytes(path, os.urandom(200_000))
        assert caught.value.filename == str(path)
        (tmp_path / "source").write_bytes(os.urandom(200_000))
        with pytest.raises(OSError, match="No space left") as caught, replacing(path) as temporary:
            shutil.copyfile(tmp_path / "source", temporary)
        assert caught.value.filename == str(path)
        assert path.read_bytes() == b"old" * 1000
        assert [file.name for file in disk.iterdir()] == ["a.bin"]


def test_read_only_folder_and_a_file_as_folder_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OSError) as caught:
        write_text(tmp_path / "file" / "a.txt", "x")
    assert str(tmp_path / "file") in str(caught.value)
    with small_disk(tmp_path / "disk", 64, read_only=True) as disk:
        with pytest.raises(OSError, match="Read-only") as caught:
            write_text(disk / "a.txt", "x")
        assert caught.value.filename == str(disk / "a.txt")


def test_long_names_fit(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 240 + ".json")
    write_json(path, [1])
    assert read_json(path) == [1]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b'{"a": 1, "a": 2}', "key 'a' twice"),
        (b'{"a": [1, 2}', "line 1"),
        (b"", "not valid JSON"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        (b"[" * 200_000, "nested too deeply"),
        (b"1" * 5000, "digits"),
    ],
)
def test_broken_json_is_one_line(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=fault) as caught:
        read_json(path)
    assert str(caught.value).startswith(f"{path}: ") and len(str(caught.value).splitlines()) == 1


def test_json_round_trip_with_byte_order_mark_and_without_nan(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"ä": [1, 2.5, None]})
    assert read_json(path) == {"ä": [1, 2.5, None]}
    path.write_bytes(b"\xef\xbb\xbf[1]")
    assert read_json(path) == [1]
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        write_json(path, {"a": float("nan")})
    assert read_json(path) == [1]
    for missing in (tmp_path / "no.json", tmp_path, path / "below"):
        with pytest.raises(ValueError, match=r"no such file|is a folder|cannot be read"):
            read_json(missing)
