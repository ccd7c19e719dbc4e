from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from decaseg.reporting.sections.volumes import agreement, agreement_chart
from tests.reporting.evaluations import HOSTILE


def cases(predicted, true, name="core"):
    pairs = enumerate(zip(predicted, true, strict=True))
    return {f"c{i}": {name: {"volume_ml": p, "volume_truth_ml": t}} for i, (p, t) in pairs}


def test_bias_and_limits_are_bland_and_altmans():
    predicted, true = [11.0, 22.0, 28.0, 41.0], [10.0, 20.0, 30.0, 40.0]
    found = agreement(cases(predicted, true), "core")
    difference = np.subtract(predicted, true)
    assert found.bias == pytest.approx(difference.mean())
    reach = 1.96 * difference.std(ddof=1)
    assert found.limits == pytest.approx((difference.mean() - reach, difference.mean() + reach))
    assert found.ci95[0] <= found.bias <= found.ci95[1] and not found.shown
    assert agreement(cases([12.0] * 9, [10.0] * 9), "core").shown


def test_too_few_or_unknown_volumes_have_no_plot():
    assert agreement(cases([1.0, 2.0], [1.0, 2.0]), "core") is None
    assert agreement(cases([1.0] * 5, [1.0] * 5), "rim") is None


def test_the_chart_has_a_dot_a_case_and_escapes_names():
    found = agreement(cases([1.0, 2.0, 0.0, 4.0], [1.0, 2.0, 3.0, 0.0], HOSTILE), HOSTILE)
    svg = agreement_chart(HOSTILE, found, 1)
    root = ElementTree.fromstring(svg)
    assert len(root.findall(".//circle")) == 4 and "<script" not in svg
    assert "ml" in "".join(root.itertext())
