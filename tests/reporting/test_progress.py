import os
import pty
import subprocess
import sys

from decaseg.reporting import progress

SHOW = """
import time
from decaseg.reporting import progress
progress.PATIENCE_S = 0.1
with progress.transfer("fetching") as advance:
    for done in range(0, 41):
        advance(10_000_000 + done * 1_000_000, 50_000_000)
        time.sleep(0.02)
"""


def test_a_log_gets_amounts_rate_and_time_left():
    said = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, text=True).stderr.splitlines()
    assert len(said) == 1  # the next would come after 10 s
    assert said[0].startswith("fetching: 1") and " of 50.0 MB, " in said[0] and said[0].endswith(" s left")


def test_a_terminal_gets_a_bar():
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", SHOW], stderr=theirs)
    os.close(theirs)
    seen = b""
    try:
        while piece := os.read(ours, 4096):
            seen += piece
    except OSError:  # how a terminal ends
        pass
    assert process.wait() == 0 and b"MB/s" in seen and b"left" in seen and b"fetching" in seen


def test_the_rate_does_not_count_what_was_there_before(monkeypatch, capsys):
    now = iter([0.0, 0.0, 2.0, 4.0, 4.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now, 4.0))
    with progress.transfer("fetching") as advance:
        advance(9_000_000, 20_000_000)
        advance(11_000_000, 20_000_000)
    assert "11.0 MB of 20.0 MB, 1.0 MB/s, 9 s left" in capsys.readouterr().err
