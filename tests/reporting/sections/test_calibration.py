from __future__ import annotations

from xml.etree import ElementTree

import numpy as np

from decaseg.metrics.calibration import Reliability
from decaseg.reporting.sections.calibration import calibrated, calibration_chart, calibration_words
from tests.reporting.evaluations import HOSTILE


def cases(power, n=6, name="core"):
    """Probabilities whose true share is `power` of them: 1 is honest, more is overconfident."""
    found = {}
    for seed in range(n):
        random = np.random.default_rng(seed)
        probability = random.random(4000)
        found[f"c{seed}"] = {name: Reliability.of(probability, random.random(4000) < probability**power)}
    return found


def test_an_overconfident_an_honest_and_an_underconfident_model_are_told_apart():
    for power, word in ((3.0, "Overconfident"), (1.0, "Neither"), (0.3, "Underconfident")):
        found = calibrated(cases(power), "core")
        assert any(word in sentence for sentence in calibration_words(found)), power
        low, high = found.error_ci95
        assert low <= found.total.error + 0.01 and found.total.error <= high + 0.01 and low < high


def test_one_case_has_no_interval_and_nothing_given_has_no_diagram():
    found = calibrated(cases(1.0, n=1), "core")
    assert found.error_ci95 is None and "interval" not in " ".join(calibration_words(found))
    nothing = {"a": {"core": Reliability.of(np.zeros(9), np.ones(9, bool))}}
    assert calibrated(nothing, "core") is None and calibrated({}, "core") is None


def test_marks_lie_where_their_bins_are():
    found = calibrated(cases(3.0), "core")
    svg = calibration_chart(HOSTILE, found, 1)
    marks = ElementTree.fromstring(svg).findall(".//circle")
    assert len(marks) == 20 and "<script" not in svg
    across, down = zip(*[(float(m.get("cx")), float(m.get("cy"))) for m in marks], strict=True)
    assert list(across) == sorted(across)
    diagonal = [268 - (x - 74) / (452 - 74) * (268 - 42) for x in across]
    assert all(y >= d - 3 for y, d in zip(down, diagonal, strict=True))  # below the diagonal: too sure
