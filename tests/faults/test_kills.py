"""Each of six commands killed with SIGKILL twenty times, and run again: benchmarks/faults has the other hundreds."""

import os
import random
import shutil
import signal
import time

import pytest

from tests.faults.works import contents, hidden

KILLS = 20


@pytest.mark.parametrize("name", ["preprocess", "train", "predict", "evaluate", "export", "download"])
def test_killed_twenty_times_the_rerun_gives_what_one_left_alone_gives(made, warm, tmp_path, name):
    """Half of the kills fall on operations of the disk, before or after them, half on moments of the clock."""
    draw, work, whole = random.Random(7), made.works[name], made.whole[name]
    said, killed = tmp_path / "said.txt", 0
    for number in range(KILLS):
        folder = tmp_path / "out"
        if number % 2 == 0:
            disk = {"under": str(folder), "at": draw.randint(1, made.steps[name]),
                    "how": draw.choice(["kill before", "kill after"])}  # fmt: skip
            killed += work.run(warm, folder, said, disk=disk) == -signal.SIGKILL
        else:
            child = work.start(warm, folder, said)
            time.sleep(draw.uniform(0, made.spans_s[name]))
            os.kill(child, signal.SIGKILL)
            warm.wait(child)
        assert work.wrong(folder, whole) == [], (name, number)
        if name == "train" and number % 4 != 3:
            continue  # goes on, and is killed again
        assert work.run(warm, folder, said) == 0, said.read_text()
        assert contents(folder) == whole and hidden(folder) == [], (name, number)
        shutil.rmtree(folder)
    assert killed >= KILLS // 4  # a resumed training has fewer operations than a whole one
