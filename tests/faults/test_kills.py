"""Each of six commands killed with SIGKILL twenty times, and run again: benchmarks/faults has the other hundreds."""

import random
import signal

import pytest

from tests.faults.trials import fresh, killed, rerun

KILLS = 20


@pytest.mark.parametrize("name", ["preprocess", "train", "predict", "evaluate", "export", "download"])
def test_killed_twenty_times_the_rerun_gives_what_one_left_alone_gives(made, warm, tmp_path, name):
    """Half of the kills fall on operations of the disk, before or after them, half on moments of the clock.

    A training is killed four times in a row: a resumed one has fewer operations, so that not each kill meets one.
    """
    draw, folder, kills = random.Random(7), tmp_path / "out", 0
    for number in range(KILLS):
        found = killed(made, warm, name, folder, draw, by_clock=number % 2 == 1)
        assert found.wrong == [], (number, found)
        kills += found.code == -signal.SIGKILL
        if name != "train" or number % 4 == 3:
            again = rerun(made, warm, name, folder)
            assert again.wrong == [], (number, again)
            fresh(folder)
    assert kills >= KILLS // 4
