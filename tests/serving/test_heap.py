"""The server's heap keeps little of what was freed."""

import subprocess
import sys

import pytest

from decaseg.serving import server

HELD = """
import ctypes, sys
from decaseg.serving.heap import keep_little

class Facts(ctypes.Structure):  # glibc's struct mallinfo2
    _fields_ = [(name, ctypes.c_size_t) for name in "arena a b c hblkhd d e uordblks fordblks f".split()]

libc = ctypes.CDLL(None)
if not hasattr(libc, "mallinfo2"):
    sys.exit("no glibc")
libc.mallinfo2.restype = Facts
if sys.argv[1] == "little":
    keep_little()
before = libc.mallinfo2().hblkhd
held = [bytes(100_000) for _ in range(20)]
between = libc.mallinfo2().hblkhd
del held
print(between - before, libc.mallinfo2().hblkhd - before)
"""


def test_large_blocks_stay_out_of_the_heap_and_go_back_when_they_are_freed():
    outside = {}
    for how in ("little", "as it comes"):
        done = subprocess.run([sys.executable, "-c", HELD, how], capture_output=True, text=True, timeout=60)
        if "no glibc" in done.stderr:
            pytest.skip("needs glibc")
        assert done.returncode == 0, done.stderr
        outside[how] = [int(word) for word in done.stdout.split()]
    assert outside["little"][0] >= 20 * 100_000 and outside["little"][1] <= 0
    assert outside["as it comes"][0] < 20 * 100_000


def test_the_server_asks_for_it_before_it_serves(monkeypatch, tmp_path):
    class Asked(Exception):
        pass

    def ask() -> None:
        raise Asked

    monkeypatch.setattr(server, "keep_little", ask)
    with pytest.raises(Asked):
        server.serve(None, server.Where("127.0.0.1", 0), None, None, tmp_path, print)
