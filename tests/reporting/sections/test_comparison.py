from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from decaseg.reporting.material import Scores
from decaseg.reporting.sections.comparison import changes_chart, compared, scatter_chart, verdict
from tests.reporting.evaluations import HOSTILE


def scores(dice, structures=("core",)):
    cases = {case: {s: {"dice": d, "hd95_mm": 3.0} for s in structures} for case, d in dice.items()}
    return Scores(Path("somewhere"), 0.5, {s: {} for s in structures}, cases, {})


def pair(shifts, left=(), right=()):
    there = {f"c{i}": 0.5 + 0.01 * i for i in range(len(shifts))}
    here = {case: d + s for (case, d), s in zip(there.items(), shifts, strict=True)}
    return compared(scores(here | dict.fromkeys(left, 0.5)), scores(there | dict.fromkeys(right, 0.5)), ("new", "old"))


def test_the_difference_is_paired_and_the_verdict_names_the_better_one():
    found = pair([0.02, 0.03, 0.02, 0.04, 0.05, 0.01, 0.02, 0.03])
    assert found.comparison.mean_dice.mean == pytest.approx(0.0275) and verdict(found) == "new is better than old."
    assert verdict(pair([-0.02] * 8)) == "old is better than new."
    assert "No difference" in verdict(pair([0.02, -0.02] * 4)) and "takes both" not in verdict(pair([0.02, -0.02] * 4))
    apart = [-0.5, -0.34, -0.24, -0.12, -0.11, -0.04, -0.02, 0.03, 0.031, 0.032]
    assert "The interval leaves out 0, but the test does not agree" in verdict(pair(apart))
    assert "Too few" in verdict(pair([0.1, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0]))
    assert "the same Dice in every case" in verdict(pair([0.0] * 7))


def test_cases_are_sorted_by_their_change_and_tiny_ones_are_neither():
    found = pair([0.02, -0.03, 0.0001, 0.05, -0.01, 0.0, 0.0])
    assert [c.case for c in found.worse] == ["c1", "c4"] and [c.case for c in found.better] == ["c3", "c0"]


def test_what_only_one_has_is_left_out_and_said():
    found = pair([0.1] * 6, left=["extra"], right=["gone 1", "gone 2"])
    assert found.comparison.mean_dice.n == 6
    assert found.left_out == "Left out: 1 case only in new: extra. 2 cases only in old: gone 1 and gone 2."
    with pytest.raises(ValueError, match="none of the cases"):
        compared(scores({"a": 0.5}), scores({"b": 0.5}), ("x", "y"))
    with pytest.raises(ValueError, match="none of the structures"):
        compared(scores({"a": 0.5}), scores({"a": 0.5}, ("rim",)), ("x", "y"))
    other = scores({"a": 0.5})
    other.cases["a"]["core"].pop("dice")
    with pytest.raises(ValueError, match="has no Dice"):
        compared(scores({"a": 0.5}), other, ("x", "y"))


def test_both_charts_have_a_mark_a_case_and_escape_names():
    found = compared(
        scores({HOSTILE: 0.5, "b": 0.7, "c": 0.6}), scores({HOSTILE: 0.6, "b": 0.6, "c": 0.6}), (HOSTILE, "y")
    )
    for svg in (scatter_chart(found), changes_chart(found)):
        marks = [e for e in ElementTree.fromstring(svg).iter() if e.get("data-case")]
        assert {m.get("data-case") for m in marks} == {HOSTILE, "b", "c"} and "<script" not in svg
        kinds = {m.get("data-case"): m.get("class") for m in marks}
        assert "down" in kinds[HOSTILE] and "up" in kinds["b"] and "same" in kinds["c"]
