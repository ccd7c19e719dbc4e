from __future__ import annotations

from xml.etree import ElementTree

import pytest

from decaseg.reporting.charts import HEIGHT, MOST_HITS, WIDTH, Axis, line_chart, number, round_ticks
from tests.reporting.evaluations import HOSTILE


def test_lines_stay_inside_the_picture_and_names_are_escaped():
    lines = {HOSTILE: [(1, 0.5), (200, 0.9)], "one point": [(50, 0.1)], "none": []}
    root = ElementTree.fromstring(line_chart(HOSTILE, lines, "step", HOSTILE, unit=True))
    drawn = root.findall(".//polyline")
    assert len(drawn) == 2
    places = [tuple(map(float, pair.split(","))) for line in drawn for pair in line.get("points").split()]
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in places)
    assert HOSTILE in root.get("aria-label")
    assert line_chart("none", {"none": []}, "step", "y") == ""


@pytest.mark.parametrize("values", [[0.0], [1e-9, 1e-9], [-3, 1e6], [5] * 3000])
def test_odd_values_can_be_drawn(values):
    root = ElementTree.fromstring(line_chart("odd", {"a": list(enumerate(values))}, "epoch", "y"))
    assert len(root.find(".//polyline").get("points").split()) <= 600
    assert len(root.findall(".//g[@class='hit']")) <= MOST_HITS


def test_the_pointer_finds_every_lines_value_at_a_place():
    lines = {"a": [(1, 0.25), (2, 0.5)], "b": [(2, 0.75)]}
    titles = [t.text for t in ElementTree.fromstring(line_chart("t", lines, "epoch", "y")).findall(".//g/title")]
    assert titles == ["epoch 1\na: 0.25", "epoch 2\na: 0.5\nb: 0.75"]


@pytest.mark.parametrize(("low", "high"), [(0.02, 0.9), (0.5, 0.7), (1, 3000), (3, 3.1)])
def test_a_logarithmic_axis_has_values_to_read_it_by(low, high):
    axis = Axis(low, high, 0, 100, log=True)
    ticks = axis.ticks()
    assert len(ticks) >= 2 and all(low <= t <= high for t in ticks)
    assert axis(low) == 0 and axis(high) == 100 and axis((low * high) ** 0.5) == pytest.approx(50, abs=0.1)


def test_ticks_are_round_and_hold_what_they_must():
    assert round_ticks(0.503, 0.897) == (0.5, 0.9, [0.5, 0.6, 0.7, 0.8, 0.9])
    low, high, ticks = round_ticks(-1.3, 7)
    assert low <= -1.3 and high >= 7 and 0 in ticks
    assert number(-0.0) == "0" and number(-1.5) == "−1.5"
