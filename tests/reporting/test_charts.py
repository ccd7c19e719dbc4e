from __future__ import annotations

from xml.etree import ElementTree

import pytest

from decaseg.reporting.charts import line_chart, strip_plot
from tests.reporting.evaluations import HOSTILE


def test_lines_stay_inside_the_picture_and_names_are_escaped():
    svg = line_chart(
        HOSTILE, {HOSTILE: [(1, 0.5), (200, 0.9)], "one point": [(50, 0.1)], "none": []}, "step", unit=True
    )
    root = ElementTree.fromstring(svg)
    lines = root.findall(".//polyline")
    assert len(lines) == 2
    places = [tuple(map(float, pair.split(","))) for line in lines for pair in line.get("points").split()]
    assert all(0 <= x <= 420 and 0 <= y <= 250 for x, y in places)
    assert HOSTILE in root.get("aria-label")
    assert line_chart("none", {"none": []}, "step") == ""


@pytest.mark.parametrize("values", [[0.0], [1e-9, 1e-9], [-3, 1e6], [5] * 3000])
def test_odd_values_can_be_drawn(values):
    svg = line_chart("odd", {"a": list(enumerate(values))}, "epoch")
    assert len(ElementTree.fromstring(svg).find(".//polyline").get("points").split()) <= 600


def test_dots_do_not_overlap_until_the_height_is_full():
    svg = strip_plot("Dice", {f"case {i}": 0.9 for i in range(8)} | {HOSTILE: 0.2}, 0.8, (0.7, 0.85), 0.2)
    dots = ElementTree.fromstring(svg).findall(".//circle")
    places = [(float(d.get("cx")), float(d.get("cy"))) for d in dots]
    assert len(dots) == 9 and {d.get("data-case") for d in dots} >= {HOSTILE}
    assert all((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 > 60 for i, a in enumerate(places) for b in places[:i])
    assert len(ElementTree.fromstring(strip_plot("Dice", {str(i): 1.0 for i in range(300)}, None, None, 0.8))) > 300
