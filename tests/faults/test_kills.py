"""Each of six commands killed with SIGKILL twenty times, and run again: benchmarks/faults has the other hundreds."""

import random
import signal

import pytest

from tests.faults.trials import fresh, killed, rerun

KILLS = 20
ANEW = ("train", "evaluate", "pictures", "export")


@pytest.mark.parametrize("name", ["preprocess", "train", "predict", "evaluate", "pictures", "export", "download"])
def test_killed_twenty_times_the_rerun_gives_what_one_left_alone_gives(made, warm, tmp_path, name):
    """A kill in four falls on a moment of the clock, the others on operations of the disk, before or after them.

    Those that begin anew each time are killed four times in a row before they are let through; so is a training, which
    goes on each time, and has fewer operations then: not each attempt meets one.
    """
    draw, folder, kills, in_a_row = random.Random(7), tmp_path / "out", 0, name in ANEW
    for number in range(3 * KILLS):
        found = killed(made, warm, name, folder, draw, by_clock=number % 4 == 1)
        assert found.wrong == [], (number, found)
        kills += found.code == -signal.SIGKILL
        if number % 4 == 3 or not in_a_row or kills == KILLS:
            again = rerun(made, warm, name, folder)
            assert again.wrong == [], (number, again)
            fresh(folder)
        if kills == KILLS:
            break
    assert kills == KILLS
