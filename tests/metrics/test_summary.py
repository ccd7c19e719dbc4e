import csv
import json

import numpy as np
import pytest
from scipy import stats

from decaseg.metrics import METRICS, CaseScores, bootstrap_ci95, score_case, summarise, summarise_groups, write_csv


def scores(**dice):
    return CaseScores({name: {"dice": value, "hd95_mm": 10 * (1 - value)} for name, value in dice.items()})


CASES = {"b": scores(edema=0.9, core=0.5), "a": scores(edema=0.7, core=0.3), "c": scores(edema=0.8, core=0.1)}


def test_mean_dice_is_the_mean_over_structures_of_the_mean_over_cases():
    summary = summarise(CASES)
    assert summary.mean_dice == pytest.approx((0.8 + 0.3) / 2)
    edema = summary.structures["edema"]["dice"]
    assert (edema.mean, edema.median, edema.std, edema.n) == pytest.approx((0.8, 0.8, 0.1, 3))
    assert edema.quartiles == pytest.approx((0.75, 0.85))
    whole = summary.mean_dice_statistics  # of 0.7, 0.5 and 0.45
    assert (whole.mean, whole.median, whole.n) == pytest.approx((summary.mean_dice, 0.5, 3))
    assert 0.45 <= whole.ci95[0] < whole.mean < whole.ci95[1] <= 0.7


def test_groups_are_summaries_of_their_own_cases():
    groups = summarise_groups(CASES, {"a": "one", "b": "two", "c": "one"})
    assert list(groups) == ["one", "two"]
    assert list(groups["one"].cases) == ["a", "c"]
    assert groups["one"].structures["edema"]["dice"].mean == pytest.approx(0.75)
    assert groups["two"].mean_dice == pytest.approx(0.7)


def test_the_document_is_the_contracts():
    truth = np.zeros((6, 6, 6), np.uint8)
    truth[2:4, 2:4, 2:4] = 1
    document = summarise({"BRATS_001": score_case(truth, truth, {"edema": (1,)}, (1, 1, 1))}).to_json()
    assert list(document) == ["mean_dice", "mean_dice_statistics", "structures", "cases"]
    assert set(document["structures"]["edema"]) == set(METRICS) == set(document["cases"]["BRATS_001"]["edema"])
    assert set(document["structures"]["edema"]["dice"]) == {"mean", "median", "std", "quartiles", "ci95", "n"}
    assert set(document["mean_dice_statistics"]) == set(document["structures"]["edema"]["dice"])
    assert document["cases"]["BRATS_001"]["edema"]["dice"] == document["mean_dice"] == 1.0
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_the_interval_is_scipys_percentile_bootstrap():
    values = np.random.default_rng(5).beta(8, 2, size=(40, 2))
    low, high = bootstrap_ci95(values, seed=1)
    for i in range(2):
        theirs = stats.bootstrap((values[:, i],), np.mean, n_resamples=20_000, method="percentile", rng=2)
        spread = theirs.confidence_interval.high - theirs.confidence_interval.low
        assert low[i] == pytest.approx(theirs.confidence_interval.low, abs=0.05 * spread)
        assert high[i] == pytest.approx(theirs.confidence_interval.high, abs=0.05 * spread)


def test_the_seed_decides_the_interval():
    assert summarise(CASES, seed=3) == summarise(CASES, seed=3)
    assert summarise(CASES, seed=3).to_json()["cases"] == summarise(CASES, seed=4).to_json()["cases"]
    values = np.random.default_rng(0).random((20, 1))
    assert bootstrap_ci95(values, 0) != bootstrap_ci95(values, 1)


def test_one_case_is_its_own_interval():
    only = summarise({"a": scores(edema=0.7)}).structures["edema"]["dice"]
    assert (only.mean, only.ci95, only.std, only.n) == (0.7, (0.7, 0.7), 0.0, 1)


def test_equal_cases_have_an_interval_of_no_width():
    summary = summarise({str(i): scores(edema=0.1) for i in range(7)}).structures["edema"]["dice"]
    assert summary.ci95 == (0.1, 0.1)


def test_cases_that_cannot_be_averaged_are_refused():
    with pytest.raises(ValueError, match="no cases"):
        summarise({})
    with pytest.raises(ValueError, match="case b was not scored for the structures"):
        summarise({"a": scores(edema=0.5), "b": scores(core=0.5)})
    with pytest.raises(ValueError, match="case b: edema dice is nan"):
        summarise({"a": scores(edema=0.5), "b": scores(edema=float("nan"))})


def test_the_csv_has_a_row_a_case_and_structure_worst_case_first(tmp_path):
    write_csv(tmp_path / "new" / "metrics.csv", CASES)
    with (tmp_path / "new" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["structure"]) for row in rows] == [
        (case, structure) for case in ("c", "a", "b") for structure in ("edema", "core")
    ]
    assert float(rows[0]["dice"]) == 0.8 and float(rows[0]["hd95_mm"]) == 2.0
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["metrics.csv"]
