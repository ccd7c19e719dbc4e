"""The one rule for empty masks, for every metric there is."""

import json
import math

import numpy as np
import pytest

from decaseg.metrics import LESION_METRICS, LESION_RULES, METRICS, MaskPair, better, score_case, summarise
from decaseg.metrics.empty import DISTANCE, OVERLAP, QUANTITY

ALL = METRICS | LESION_METRICS
SHAPE, SPACING = (6, 8, 10), (1.0, 2.0, 0.5)
DIAGONAL_MM = math.sqrt(6**2 + 16**2 + 5**2)
EMPTY = np.zeros(SHAPE, bool)
CUBE = EMPTY.copy()
CUBE[1:4, 2:5, 3:7] = True
FULL = np.ones(SHAPE, bool)
RULE = LESION_RULES["glioma"]
BEST = {"dice": 1, "iou": 1, "nsd": 1, "sensitivity": 1, "specificity": 1, "precision": 1, "hd95_mm": 0, "assd_mm": 0,
        "lesion_dice": 1, "lesion_hd95_mm": 0}  # fmt: skip
WORST = {name: 0 if best else DIAGONAL_MM for name, best in BEST.items()}
COUNTS = {"lesions_found", "lesions_missed", "lesions_false"}
QUANTITIES = {"volume_ml", "volume_truth_ml", "volume_error_ml"} | COUNTS


def values(prediction, truth):
    pair = MaskPair(prediction, truth, SPACING)
    return {name: metric(pair) for name, metric in ALL.items()}


def judged(scores):
    return {name: value for name, value in scores.items() if name not in QUANTITIES}


def test_every_metric_follows_a_rule():
    assert {name for name, metric in ALL.items() if metric.rule is QUANTITY} == QUANTITIES
    assert {name for name, metric in ALL.items() if metric.rule in (OVERLAP, DISTANCE)} == set(BEST)


def test_which_way_is_better_follows_from_the_rule():
    for name, metric in ALL.items():
        expected = {OVERLAP: 1, DISTANCE: -1}.get(metric.rule)
        if expected is not None:
            assert metric.better == expected == better(name), name
    assert {name for name in QUANTITIES if ALL[name].better} == {"volume_error_ml", "lesions_missed", "lesions_false"}
    assert better("no such metric") == 0


def test_both_empty_is_the_best():
    scores = values(EMPTY, EMPTY)
    assert judged(scores) == pytest.approx(BEST)
    assert {scores[name] for name in QUANTITIES} == {0.0}


@pytest.mark.parametrize(("prediction", "truth"), [(EMPTY, CUBE), (CUBE, EMPTY), (EMPTY, FULL), (FULL, EMPTY)])
def test_one_empty_is_the_worst(prediction, truth):
    scores = values(prediction, truth)
    assert judged(scores) == pytest.approx(WORST)
    assert scores["volume_error_ml"] == pytest.approx((prediction | truth).sum() * 0.001)


def test_a_truth_that_fills_the_image_leaves_nothing_to_be_specific_about():
    assert values(FULL, FULL)["specificity"] == 1
    assert values(CUBE, FULL)["specificity"] == 1


def test_nothing_real_is_worse_than_a_miss():
    """So replacing any prediction by an empty one never improves a mean."""
    random = np.random.default_rng(0)
    corner, other = EMPTY.copy(), EMPTY.copy()
    corner[0, 0, 0] = other[-1, -1, -1] = True  # the two surfaces that are furthest apart
    predictions = [corner, FULL, CUBE, ~CUBE, *(random.random((12, *SHAPE)) < 0.1)]
    for truth in (CUBE, other, FULL):
        miss = judged(values(EMPTY, truth))
        for prediction in predictions:
            for name, value in judged(values(prediction, truth)).items():
                assert value <= miss[name] if ALL[name].rule is DISTANCE else value >= miss[name], name


def test_a_miss_stays_in_the_means_and_improves_none():
    truth = CUBE.astype(np.uint8)
    bad = np.roll(truth, (2, 3, 3), axis=(0, 1, 2))
    good = {f"case {i}": score_case(truth, truth, {"cube": (1,)}, SPACING, lesions=RULE) for i in range(3)}
    with_bad = summarise(good | {"last": score_case(bad, truth, {"cube": (1,)}, SPACING, lesions=RULE)})
    with_miss = summarise(good | {"last": score_case(0 * bad, truth, {"cube": (1,)}, SPACING, lesions=RULE)})
    assert with_miss.mean_dice == pytest.approx(0.75)
    for name, before in judged(with_bad.structures["cube"]).items():
        after = with_miss.structures["cube"][name]
        assert after.n == 4
        assert after.mean >= before.mean if ALL[name].rule is DISTANCE else after.mean <= before.mean, name


def test_json_holds_finite_numbers_only():
    truth = CUBE.astype(np.uint8)
    cases = {
        "missed": score_case(0 * truth, truth, {"cube": (1,), "absent": (7,)}, SPACING, lesions=RULE),
        "invented": score_case(truth, 0 * truth, {"cube": (1,), "absent": (7,)}, SPACING, lesions=RULE),
    }
    json.dumps(summarise(cases).to_json(), allow_nan=False)
