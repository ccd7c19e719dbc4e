"""Times `decaseg check` on a data set: a first check, a second that remembers it, and what each needs of memory.

    python benchmarks/check/measure.py DATASET [--threads 2]

Each is a process of its own, with a cache of its own that is empty at the start. Wall time depends on what else the
machine does; processor time hardly does.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def timed(words: list[str], environment: dict[str, str]) -> tuple[float, float, float, str]:
    """Wall seconds, processor seconds, largest resident MiB and the last line of standard error."""
    started = time.monotonic()
    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    printed, said = process.stdout.read(), process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    lines = printed.count("\n")
    wall = time.monotonic() - started
    last = said.strip().splitlines()[-1] if said.strip() else ""
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, f"{last}; {lines} lines"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    words = [sys.executable, "-m", "decaseg", "check", str(arguments.dataset), "--threads", str(arguments.threads)]
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"XDG_CACHE_HOME": cache}
        for name in ("first", "second", "third"):
            wall, processor, memory, last = timed(words, environment)
            print(f"{name}: {wall:.1f} s, {processor:.1f} processor s, {memory:.0f} MiB; {last}", flush=True)
        size = sum(path.stat().st_size for path in Path(cache).rglob("*") if path.is_file())
        print(f"remembered: {size / 2**20:.1f} MiB", flush=True)
    size = sum(path.stat().st_size for path in arguments.dataset.rglob("*") if path.is_file())
    print(f"data set: {size / 1e9:.2f} GB", flush=True)


if __name__ == "__main__":
    main()
