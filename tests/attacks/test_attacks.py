"""The small version of every row of benchmarks/faults/attacks.md: `python -m tests.attacks.campaign ROW` runs more.

Each row runs in a process of its own, which may not crash, take 5 s of processor for one input, or 256 MiB and twice
the file more than it has at rest.
"""

from __future__ import annotations

import pytest

from tests.attacks import faulty, grids
from tests.attacks.campaign import campaign

SEED = 1


@pytest.mark.parametrize(
    ("row", "count", "words"),
    [
        ("nifti", 5000, {"read": 2000, "refused": 1800}),
        ("manifest", 1000, {"noticed": 900}),
        ("grids", 384, {"exact": 384}),
        ("cache", 300, {"noticed": 200, "noticed, made anew": 60}),
        ("models", 200, {"refused": 80, "previous used, and told": 20, "predicted": 3}),
        ("archives", 160, {"refused": 110, "unpacked": 10}),
        ("metrics", 200, {"by the rule": 200, "as the references": 100}),
    ],
)
def test_nothing_lost_and_no_one_in(row, count, words):
    if row == "metrics":
        pytest.importorskip("surface_distance")
    tally = campaign(row, count, SEED)
    assert not any(tally.own().values()), dict(tally.own())
    assert tally.inputs == count
    said = {word: sum(counts[word] for counts in tally.words.values()) for word in words}
    assert all(said[word] >= least for word, least in words.items()), said  # both sorts of outcome are asked about


def test_the_first_grids_take_every_orientation_form_unit_scale_and_type():
    assert [len(seen) for seen in grids.spread(384)] == [48, 6, 4, 4, 8]


def test_a_campaign_tells_every_way_to_fail():
    """A judge that cannot say no would pass everything."""
    tally = campaign("faulty", len(faulty.WORDS), SEED)
    assert {index: word for index, word, _ in tally.bad["faulty"]} == {
        index: word for index, word in enumerate(faulty.WORDS) if word not in ("fine", "refused")
    }
    assert tally.words["faulty"]["fine"] == 2 and tally.words["faulty"]["refused"] == 1
