"""What is remembered is believed only while files, code and entry are what they were."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from decaseg.storage.remembered import Remembered, user_cache
from tests.storage.small_disk import small_disk

FACTS = {"a": 1, "b": [1.5, None]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    return path


def test_facts_come_back_until_the_file_changes(tmp_path: Path, file: Path) -> None:
    remembered = Remembered(tmp_path / "cache", "code")
    key = remembered.key((file,), "image")
    assert key is not None and remembered.get(key) is None
    remembered.put(key, FACTS)
    assert Remembered(tmp_path / "cache", "code").get(key) == FACTS
    assert remembered.key((file,), "label") != key
    state = file.stat()
    time.sleep(0.02)
    file.write_bytes(b"54321")
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))  # as if it had not been touched
    assert remembered.key((file,), "image") != key


def test_other_code_starts_anew(tmp_path: Path, file: Path) -> None:
    one, other = Remembered(tmp_path / "cache", "code"), Remembered(tmp_path / "cache", "other")
    key = one.key((file,), "image")
    assert key is not None
    one.put(key, FACTS)
    assert other.get(key) is None


def test_damaged_entries_are_not_believed(tmp_path: Path, file: Path) -> None:
    remembered = Remembered(tmp_path / "cache", "code")
    key = remembered.key((file,), "image")
    assert key is not None
    remembered.put(key, FACTS)
    entry = remembered.folder / key
    good = entry.read_bytes()
    for place in range(len(good)):
        data = bytearray(good)
        data[place] ^= 4
        entry.write_bytes(data)
        assert remembered.get(key) in (None, FACTS)
        entry.write_bytes(good[:place])
        assert remembered.get(key) is None


def test_two_at_once(tmp_path: Path, file: Path) -> None:
    key = Remembered(tmp_path / "cache", "code").key((file,), "image")
    assert key is not None

    def work(number: int) -> bool:
        remembered = Remembered(tmp_path / "cache", "code")
        remembered.put(key, {"number": number})
        found = remembered.get(key)
        return found is not None and "number" in found

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(200)))
    assert [path.name for path in (tmp_path / "cache" / "code").iterdir()] == [key]


def test_it_works_without_where_nothing_can_be_written(tmp_path: Path, file: Path) -> None:
    with small_disk(tmp_path / "disk", 16, read_only=True) as disk:
        remembered = Remembered(disk / "cache", "code")
        key = remembered.key((file,), "image")
        assert key is not None
        remembered.put(key, FACTS)
        assert remembered.get(key) is None and not remembered.usable
        remembered.sweep()


def test_old_entries_and_other_code_are_swept(tmp_path: Path, file: Path) -> None:
    remembered = Remembered(tmp_path / "cache", "code")
    for key in ("old", "young"):
        remembered.put(key, FACTS)
    long_ago = time.time() - 200 * 86400
    os.utime(remembered.folder / "old", (long_ago, long_ago))
    other = Remembered(tmp_path / "cache", "other")
    other.put("x", FACTS)
    os.utime(other.folder, (long_ago, long_ago))
    (remembered.folder / ".x.0.tmp").write_text("half")
    os.utime(remembered.folder / ".x.0.tmp", (long_ago, long_ago))
    remembered.sweep()
    assert [path.name for path in remembered.folder.iterdir()] == ["young"]
    assert not other.folder.exists()


def test_it_lies_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache() == tmp_path / "decaseg"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert user_cache() == Path.home() / ".cache" / "decaseg"
