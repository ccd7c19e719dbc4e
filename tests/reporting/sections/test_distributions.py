from __future__ import annotations

from xml.etree import ElementTree

import numpy as np

from decaseg.reporting.charts import WIDTH
from decaseg.reporting.sections.distributions import Row, distribution_chart, swarm
from tests.reporting.evaluations import HOSTILE


def row(name, values, mean=None):
    return Row(name, {f"{name} {i}": v for i, v in enumerate(values)}, mean, (mean, mean) if mean is not None else None)


def drawn(rows, metric="dice"):
    return ElementTree.fromstring(distribution_chart(metric, rows))


def test_a_dot_a_case_inside_the_picture_and_a_violin_where_there_are_enough():
    root = drawn([row("many", np.linspace(0.2, 0.9, 30), 0.6), row("few", [0.5, 0.9])])
    dots = root.findall(".//circle")
    assert len(dots) == 32 and {d.get("data-case") for d in dots} >= {"many 0", "few 1"}
    assert all(0 <= float(d.get("cx")) <= WIDTH for d in dots)
    assert len(root.findall(".//polygon")) == 1 and len(root.findall(".//path")) == 1
    assert "30 cases from 0.2 to 0.9" in root.get("aria-label")


def test_hostile_and_odd_values_are_drawn():
    assert "<script" not in distribution_chart("dice", [row(HOSTILE, [0.1, 0.2] * 10, 0.15)])
    for values in ([0.0], [1.0] * 300, [0.0, 1e6], [3.0] * 8):
        assert len(drawn([row("a", values)], "hd95_mm").findall(".//circle")) == len(values)
    assert distribution_chart("dice", [Row("none", {}, None, None)]) == ""


def test_the_violin_is_widest_where_cases_gather():
    values = [0.3, 0.31, 0.32, 0.33, 0.3, 0.31, 0.32, 0.33, 0.6, 0.9]
    points = drawn([row("a", values)]).find(".//polygon").get("points").split()
    upper = [tuple(map(float, p.split(","))) for p in points[: len(points) // 2]]
    widest = min(upper, key=lambda p: p[1])
    assert widest[0] < WIDTH / 3


def test_dots_do_not_overlap_until_the_height_is_full():
    put = swarm({f"case {i}": 200.0 for i in range(5)} | {"alone": 20.0}, reach=29)
    places = [(x, y) for _, x, y in put]
    assert all((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 > 80 for i, a in enumerate(places) for b in places[:i])
    assert len(swarm({str(i): 1.0 for i in range(300)}, reach=29)) == 300


def test_a_distance_by_rule_does_not_stretch_the_axis():
    """The image's diagonal of a case where nothing was predicted: a hollow mark at the end, named as what it is."""
    values = {f"c{i}": 2.0 + 0.1 * i for i in range(9)} | {"empty": 370.0}
    root = drawn([Row("core", values, 39.0, (2.0, 110.0), frozenset({"empty"}))], "hd95_mm")
    hollow = root.findall(".//circle[@class='dot beyond']")
    assert [h.get("data-case") for h in hollow] == ["empty"] and "by rule" in hollow[0].find("title").text
    ticks = [float(t.text) for t in root.findall(".//text[@class='tick']")]
    assert max(ticks) == 40 and all(float(e.get("x2")) <= WIDTH for e in root.findall(".//line"))
