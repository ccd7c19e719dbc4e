"""Entries are whole, checked and shared: with real processes, kills and full disks."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest

from decaseg.storage import cache as module
from decaseg.storage.cache import Cache
from decaseg.storage.lock import held
from tests.storage.small_disk import small_disk

ARRAYS = {"image": np.arange(24000, dtype=np.float16).reshape(1, 20, 30, 40), "places_1": np.ones((0, 3), np.int32)}


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


def test_what_is_put_comes_back_memory_mapped(cache):
    for entry in (cache.put("k", ARRAYS, {"case": "a"}), cache.get("k")):
        assert entry.facts == {"case": "a"} and sorted(entry.arrays) == sorted(ARRAYS)
        assert isinstance(entry.arrays["image"], np.memmap)
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(entry.arrays[name], array)
            assert entry.arrays[name].dtype == array.dtype
    assert [p.name for p in cache.folder.iterdir()] == ["k"]
    assert cache.get("other") is None


def test_every_single_flipped_bit_and_cut_is_noticed(cache):
    cache.put("k", ARRAYS, {"case": "a"})
    rng = np.random.default_rng(0)
    for name in ("image.npy", "places_1.npy", "facts.json"):
        path = cache.folder / "k" / name
        whole = path.read_bytes()
        for place in {*range(min(160, len(whole))), *rng.integers(0, len(whole), 40)}:
            damaged = bytearray(whole)
            damaged[place] ^= 1 << rng.integers(8)
            path.write_bytes(damaged)
            assert cache.get("k") is None, (name, place)
        for size in (0, 10, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:size])
            assert cache.get("k") is None, (name, size)
        path.write_bytes(whole)
        assert cache.get("k") is not None


def test_a_zeroed_block_and_an_extra_array_are_noticed(cache):
    cache.put("k", ARRAYS, {})
    path = cache.folder / "k" / "image.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + bytes(4096) + whole[12288:])
    assert cache.get("k") is None
    path.write_bytes(whole)
    (cache.folder / "k" / "places_2.npy").write_bytes(whole)
    assert cache.get("k") is None


def test_a_damaged_entry_is_replaced_and_a_sound_one_is_not(cache):
    cache.put("k", ARRAYS, {"made": 1})
    (cache.folder / "k" / "image.npy").write_bytes(b"")
    assert cache.put("k", ARRAYS, {"made": 2}).facts == cache.get("k").facts == {"made": 2}
    assert cache.put("k", ARRAYS, {"made": 3}).facts == {"made": 2}
    assert [p.name for p in cache.folder.iterdir()] == ["k"]


def test_format_is_part_of_the_key(monkeypatch):
    before = Cache.key("a", "b")
    assert before != Cache.key("a", "c") and before != Cache.key("ab", "")
    monkeypatch.setattr(module, "FORMAT", "other")
    assert Cache.key("a", "b") != before


def test_sweeping_takes_what_killed_runs_left_and_nothing_else(cache):
    cache.put("k", ARRAYS, {})
    left, living, fresh = (cache.folder / f".{name}.0123abcd.tmp" for name in ("left", "living", "fresh"))
    for folder in (left, living, fresh):
        folder.mkdir()
        (folder / "image.npy").write_bytes(b"half")
    for folder in (left, living):
        os.utime(folder, (time.time() - 3600,) * 2)
    with held(living):
        assert cache.sweep() == 1
    assert sorted(p.name for p in cache.folder.iterdir()) == sorted([fresh.name, "k", living.name])


def test_without_locks_only_age_tells(cache, monkeypatch):
    monkeypatch.setattr("decaseg.storage.lock.fcntl", None)
    for name, age_s in (("hour", 3600), ("days", 200_000)):
        (cache.folder / f".{name}.tmp").mkdir(parents=True)
        os.utime(cache.folder / f".{name}.tmp", (time.time() - age_s,) * 2)
    assert cache.sweep() == 1 and [p.name for p in cache.folder.iterdir()] == [".hour.tmp"]


WRITER = """
import sys, zlib, json, numpy as np
from pathlib import Path
from decaseg.storage.cache import Cache
cache, rounds = Cache(Path(sys.argv[1])), int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
seen = []
for n in range(rounds):
    arrays = {"image": np.full((1, 40, 40, 40), n, np.float16), "label": np.full((40, 40, 40), n, np.uint8)}
    entry = cache.get(str(n)) or cache.put(str(n), arrays, {"n": n})
    seen.append([entry.facts["n"], *(zlib.crc32(a.tobytes()) for a in (entry.arrays["image"], entry.arrays["label"]))])
print(json.dumps(seen), flush=True)
"""


def writers(folder, count, rounds):
    """`count` processes that are ready to write; a line on their standard input sets them off."""
    words = [sys.executable, "-c", WRITER, str(folder), str(rounds)]
    children = [subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(count)]
    assert all(child.stdout.readline() == b"ready\n" for child in children)
    return children


@pytest.mark.parametrize("damaged", [False, True], ids=["empty", "damaged"])
def test_three_runs_at_once_agree(cache, damaged):
    for n in range(40 * damaged):
        cache.put(str(n), {"image": ARRAYS["image"], "label": ARRAYS["image"]}, {})
        (cache.folder / str(n) / "image.npy").write_bytes(b"zeroed by a bad disk")
    children = writers(cache.folder, 3, 40)
    for child in children:
        child.stdin.write(b"go\n")
        child.stdin.flush()
    told = [json.loads(child.communicate(timeout=300)[0]) for child in children]
    assert [child.returncode for child in children] == [0, 0, 0]
    voxels = 40**3
    expected = [
        [n, zlib.crc32(np.full(voxels, n, np.float16).tobytes()), zlib.crc32(bytes([n]) * voxels)] for n in range(40)
    ]
    assert told == [expected] * 3
    assert sorted(p.name for p in cache.folder.iterdir()) == sorted(map(str, range(40)))
    assert all(cache.get(str(n)) for n in range(40))


def test_entries_are_whole_or_absent_after_kills_at_random_moments(cache):
    rng, done = np.random.default_rng(0), []
    for _ in range(6):
        (child,) = writers(cache.folder, 1, 2000)
        child.stdin.write(b"go\n")
        child.stdin.flush()
        while len(list(cache.folder.glob("[!.]*"))) <= (done or [0])[-1]:
            assert child.poll() is None
        time.sleep(rng.uniform(0, 0.03))
        child.kill()
        child.communicate()
        assert child.returncode == -signal.SIGKILL
        names = [p.name for p in cache.folder.glob("[!.]*")]
        assert all(cache.get(name) for name in names)
        done.append(len(names))
    for folder in cache.folder.glob(".*.tmp"):  # young, so left alone; an hour later they go
        os.utime(folder, (time.time() - 3600,) * 2)
    cache.sweep()
    assert not list(cache.folder.glob(".*"))


def test_a_full_disk_names_the_entry_and_leaves_nothing_half(tmp_path):
    with small_disk(tmp_path / "disk", 256) as disk:
        cache = Cache(disk / "cache")
        cache.put("fits", ARRAYS, {})
        with pytest.raises(OSError) as caught:
            cache.put("large", {"image": np.zeros(400_000, np.uint8)}, {})
        assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(cache.folder / "large")
        assert [p.name for p in cache.folder.iterdir()] == ["fits"] and cache.get("fits")
