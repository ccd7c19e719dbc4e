from __future__ import annotations

import json
from xml.etree import ElementTree

from decaseg.reporting.sections.export import parity_of, speed_of
from decaseg.reporting.sections.speed import models_of, speed_chart
from tests.reporting.evaluations import HOSTILE, write_benchmark


def document(tmp_path, names=("run", "bundle", "third")):
    return json.loads((write_benchmark(tmp_path / "benchmark", names) / "benchmark.json").read_text())


def test_the_chart_has_a_marker_a_model_the_faster_to_the_left(tmp_path):
    svg = speed_chart(models_of(document(tmp_path, ("run", HOSTILE, "third"))))
    root = ElementTree.fromstring(svg)
    assert "<script" not in svg and len(root.findall(".//*[@class='mark']")) == 3
    assert "run: 2 s, Dice 0.9000" in root.get("aria-label")


def test_the_table_says_differences_from_the_first(tmp_path):
    found = speed_of(document(tmp_path))
    assert [name for name, _ in found.rows] == ["run", "bundle", "third"]
    assert found.rows[1][1] == ("openvino int8", "1", "2.00", "1.25 GiB", "0.8990", "−0.001 (−0.003 to +0.001)")
    assert "A processor, 2 cores, 5 cases of Task" in found.note and found.conclusions == ("bundle is twice as fast.",)


def test_a_benchmark_without_dice_has_a_table_and_no_chart(tmp_path):
    whole = document(tmp_path)
    for model in whole["models"]:
        model["dice"] = model["dice_drop"] = None
    found = speed_of(whole)
    assert found.svg == "" and found.rows[0][1][4] == ""


def test_odd_documents_do_no_harm():
    for odd in (None, {}, {"models": 3}, {"models": [1, {"case_s": 2}, {"case_s": {"median": 0}}]}):
        assert speed_of(odd) is None
    assert parity_of({"parity": [1]}) is None and parity_of(None) is None
    bare = speed_of({"models": [{"case_s": {"median": 1.5}}]})
    assert bare.rows[0][0] == "model" and bare.svg == ""


def test_parity_says_the_change_with_its_sign():
    found = parity_of(
        {"parity": {"cases": 4, "mean_dice_source": 0.9, "mean_dice_export": 0.8975, "max_dice_drop": 0.01}}
    )
    assert dict(found.rows)["Change"] == "−0.0025" and dict(found.rows)["Largest drop"] == "0.0100"
