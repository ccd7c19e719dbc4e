import csv
import json

import numpy as np
import pytest
from scipy import stats

from decaseg.metrics import CaseScores, compare
from decaseg.metrics.comparison import write_differences_csv


def cases(dice, distance=None):
    """Case -> scores of one structure; the distance is 10 mm less 10 times Dice unless given."""
    distance = [10 * (1 - d) for d in dice] if distance is None else distance
    return {
        f"c{i:02d}": CaseScores({"edema": {"dice": float(d), "hd95_mm": float(h), "volume_ml": 5.0 + d}})
        for i, (d, h) in enumerate(zip(dice, distance, strict=True))
    }


RANDOM = np.random.default_rng(2)
BASE = RANDOM.uniform(0.5, 0.9, 20)
NOISE = RANDOM.normal(0, 0.02, 20)


def test_a_clear_gain_is_named_for_each_metric_by_its_better_side():
    found = compare(cases(BASE + 0.05 + NOISE), cases(BASE))
    rows = found.structures["edema"]
    assert found.mean_dice.says == rows["dice"].says == "first"
    assert rows["dice"].mean == pytest.approx((0.05 + NOISE).mean())
    assert rows["hd95_mm"].mean < 0 and rows["hd95_mm"].says == "first"  # a smaller distance is better
    assert rows["volume_ml"].says == "differs"  # more volume is neither
    back = compare(cases(BASE), cases(BASE + 0.05 + NOISE))
    assert back.mean_dice.says == "second"
    assert back.mean_dice.mean == pytest.approx(-found.mean_dice.mean)


def test_the_signed_rank_test_and_the_interval_are_scipys():
    first, second = BASE + NOISE, BASE
    found = compare(cases(first), cases(second)).mean_dice
    assert found.p_wilcoxon == pytest.approx(stats.wilcoxon(first, second).pvalue)
    theirs = stats.bootstrap((NOISE,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    assert found.ci95 == pytest.approx((theirs.low, theirs.high), abs=0.05 * (theirs.high - theirs.low))
    exact = stats.permutation_test((NOISE,), np.mean, permutation_type="samples", n_resamples=9_999, rng=3).pvalue
    assert found.p_permutation == pytest.approx(exact, abs=0.02)
    few = compare(cases(first[:9]), cases(second[:9])).mean_dice
    every = stats.permutation_test((NOISE[:9],), np.mean, permutation_type="samples", n_resamples=9_999).pvalue
    assert few.p_permutation == pytest.approx(every)  # all 512 ways


def test_noise_alone_is_no_difference_and_few_cases_decide_nothing():
    even = np.tile([0.02, -0.02], 10)
    assert compare(cases(BASE + even), cases(BASE)).mean_dice.says == "none"
    five = compare(cases(BASE[:5] + 0.1), cases(BASE[:5])).mean_dice
    assert five.says == "few" and five.p_wilcoxon > 0.05
    assert compare(cases(BASE[:6] + 0.1 + NOISE[:6]), cases(BASE[:6])).mean_dice.says == "first"


def test_ties_do_not_count_as_evidence():
    first = BASE.copy()
    first[:5] += 0.1
    found = compare(cases(first), cases(BASE)).mean_dice
    assert (found.n, found.changed, found.says) == (20, 5, "few")
    same = compare(cases(BASE), cases(BASE)).mean_dice
    assert (same.says, same.p_wilcoxon, same.p_permutation, same.ci95) == ("equal", 1.0, 1.0, (0.0, 0.0))


def test_a_better_one_needs_both_the_test_and_the_interval():
    mostly_better = BASE + 0.01 + NOISE / 100
    mostly_better[0] -= 0.5  # 19 small gains and a large loss: ranks favour the first, the mean does not
    found = compare(cases(mostly_better), cases(BASE)).mean_dice
    assert found.p_wilcoxon < 0.05 and found.ci95[0] < 0 < found.ci95[1] and found.says == "none"
    rarely_better = BASE - 0.001 + NOISE / 1000
    rarely_better[:6] += 0.1  # 6 large gains and 14 small losses: the mean favours the first, ranks do not
    found = compare(cases(rarely_better), cases(BASE)).mean_dice
    assert found.p_wilcoxon > 0.05 and found.ci95[0] > 0 and found.says == "none"


def test_holms_correction_is_over_the_judging_metrics_of_all_structures():
    found = compare(cases(BASE + 0.02 + NOISE), cases(BASE)).structures["edema"]
    p = sorted(found[m].p_wilcoxon for m in ("dice", "hd95_mm"))
    assert min(found[m].p_holm for m in ("dice", "hd95_mm")) == pytest.approx(2 * p[0])
    assert found["volume_ml"].p_holm == found["volume_ml"].p_wilcoxon


def test_other_cases_are_refused_by_name():
    some = cases(BASE)
    with pytest.raises(ValueError, match="differ in their cases: c19;"):
        compare(some, {case: scores for case, scores in some.items() if case != "c19"})
    with pytest.raises(ValueError, match="differ in their cases"):
        compare({}, {})


def test_the_documents_hold_every_difference_worst_first(tmp_path):
    first = BASE.copy()
    first[7] -= 0.3
    first[3] += 0.3
    found = compare(cases(first), cases(BASE))
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert document["cases"]["c07"]["edema"]["dice"] == pytest.approx(-0.3)
    write_differences_csv(tmp_path / "comparison.csv", found)
    with (tmp_path / "comparison.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["case"] == "c07" and rows[-1]["case"] == "c03" and len(rows) == 20
    assert float(rows[0]["dice"]) == pytest.approx(-0.3)
