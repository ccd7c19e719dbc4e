"""Memory that is refused (`ulimit -v`): campaign.py's `memory`. A message, no damage, and the same command again."""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tally import Tally
from tests.faults.trials import fresh, rerun, spoken
from tests.faults.warm import Warm
from tests.faults.works import Made

from decaseg.storage.files import read_json
from decaseg.storage.no_memory import SAYINGS

MOST_MIB = {"train": 1300, "export": 1100, "predict": 700, "evaluate": 800}  # a little more than whole programs need
NAMES = ("preprocess", "train", "predict", "evaluate", "export")


def memory(made: Made, warm: Warm, folder: Path, told: argparse.Namespace) -> Iterator[Tally]:
    """ulimit -v: somewhere between none and a little more than the command needs beyond what it has imported; then as
    a program of its own, imports included."""
    for name in told.only or NAMES:
        draw, out, said, work = random.Random(told.seed), folder / "out" / name, folder / "said.txt", made.works[name]
        out.parent.mkdir(exist_ok=True)
        assert work.run(warm, fresh(out), said, grown=f"{said}.grown") == 0, said.read_text()
        need = int(read_json(Path(f"{said}.grown")))
        tally = Tally(f"{name}: ulimit -v, 0 to {1.331 * need / 1024:.0f} MiB more than imported")
        for _ in range(told.count):
            room = int(draw.uniform(0, 1.1) ** 3 * need)  # half of it below an eighth of the need
            begun = time.monotonic()
            code = work.run(warm, fresh(out), said, room_kib=room)
            seconds, text = time.monotonic() - begun, said.read_text()
            wrong = [] if name == "preprocess" and code == 1 and no_memory_in(text) else spoken(code, text)
            wrong += half_or_not_again(made, warm, name, out)
            tally.add(f"exit {code}", [f"{room} KiB: {one}" for one in wrong], seconds)
        yield tally
        if name != "preprocess":
            yield whole_programs(made, warm, folder, told, name)


def whole_programs(made: Made, warm: Warm, folder: Path, told: argparse.Namespace, name: str) -> Tally:
    """`python -m decaseg` under ulimit -v; what libraries do to a program before decaseg runs is counted apart."""
    draw, out, tally = random.Random(told.seed), folder / "out" / name, Tally(f"{name}, its imports too: ulimit -v")
    words = [sys.executable, "-m", "decaseg", *made.works[name].words(out)]
    for _ in range(told.count):
        mib = int(draw.uniform(30, MOST_MIB[name]))
        fresh(out)
        begun = time.monotonic()
        done = subprocess.run(["bash", "-c", f'ulimit -v {mib * 1024}; exec "$@"', "-", *words], capture_output=True,
                              text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})  # fmt: skip
        seconds, text = time.monotonic() - begun, done.stderr + done.stdout
        before = "OpenBLAS error" in text or ", in call\n" not in text
        ended = done.returncode == 1 and before
        wrong = [] if ended else spoken(done.returncode, done.stdout + done.stderr)
        wrong += half_or_not_again(made, warm, name, out)
        came = "ended by Python or a library before decaseg ran" if ended else f"exit {done.returncode}"
        tally.add(came, [f"{mib} MiB: {one}" for one in wrong], seconds)
    return tally


def half_or_not_again(made: Made, warm: Warm, name: str, out: Path) -> list[str]:
    """What is wrong with what a command left, and with the same command again."""
    half = [f"half: {one}" for one in made.works[name].wrong(out, made.whole[name])] if out.exists() else []
    return half + rerun(made, warm, name, out).wrong


def no_memory_in(text: str) -> bool:
    """Whether the last line of a traceback says that there was no memory."""
    last = text.strip().splitlines()[-1]
    return "MemoryError" in last or any(words in last for words in SAYINGS)
