import numpy as np
import pytest

from decaseg.exporting.parity import TOLERANCES, Compared, Tolerance, judge_parity
from decaseg.metrics.case import score_case
from decaseg.volume import Volume
from decaseg.workflows import export

TRUTH = np.zeros((20, 20, 20), np.uint8)
TRUTH[2:12, 2:12, 2:12], TRUTH[12:17, 5:15, 5:15] = 1, 2


def compared(source, export, truth=TRUTH):
    scores = [score_case(labels, truth, {"a": (1,), "b": (2,)}, (1, 1, 1)) for labels in (source, export)]
    return Compared(Volume.of(source), Volume.of(export), *scores)


def changed(count, value, where):
    """The truth with the first `count` voxels of label `where` set to `value`."""
    label = TRUTH.copy()
    label[tuple(np.argwhere(where == TRUTH)[:count].T)] = value
    return label


def judge(*cases):
    return judge_parity(cases, "torch fp32", "openvino fp32")


def test_equal_predictions_pass_however_bad_they_are():
    for labels in (TRUTH, np.zeros_like(TRUTH), changed(500, 0, 1)):
        parity = judge(compared(labels, labels))
        assert parity.passed and parity.disagreement == 0 and parity.max_dice_drop == 0 and parity.cases == 1
        assert (parity.source, parity.export) == ("torch fp32", "openvino fp32")


def test_one_voxel_in_1500_is_forgiven_and_two_are_not():
    assert judge(compared(TRUTH, changed(1, 0, 1))).passed
    parity = judge(compared(TRUTH, changed(2, 0, 1)))
    assert parity.disagreement == pytest.approx(2 / 1500) and not parity.passed
    assert "labels differ" in parity.reason and "mean Dice drops" not in parity.reason


def test_labels_that_differ_without_harm_to_dice_fail_too():
    parity = judge(compared(changed(40, 0, 1), TRUTH))  # the export is even better: still another model
    assert not parity.passed and parity.mean_dice_export > parity.mean_dice_source and parity.max_dice_drop < 0
    assert "labels differ" in parity.reason and "mean Dice drops" not in parity.reason


def test_confusing_two_structures_counts_as_differing():
    assert judge(compared(TRUTH, changed(30, 2, 1))).disagreement == pytest.approx(30 / 1500)


def test_a_fall_of_dice_fails_even_where_hardly_a_voxel_differs():
    truth = TRUTH.copy()
    truth[truth == 2] = 0
    truth[18, 18, 18] = 2  # one voxel is the whole structure
    export = truth.copy()
    export[18, 18, 18] = 0
    parity = judge(compared(truth, export, truth))
    assert parity.disagreement < 0.001 and not parity.passed
    assert "mean Dice drops by 0.5" in parity.reason and "labels differ" not in parity.reason


def test_one_bad_case_among_good_ones_is_named_by_the_largest_drop():
    good = [compared(TRUTH, TRUTH)] * 9
    parity = judge(*good, compared(TRUTH, np.zeros_like(TRUTH)))
    assert not parity.passed and parity.cases == 10
    assert parity.max_dice_drop == pytest.approx(1) and parity.disagreement == pytest.approx(0.1)
    assert parity.mean_dice_export == pytest.approx(0.9)


def test_labels_where_the_source_has_none_are_not_divided_away():
    empty = np.zeros_like(TRUTH)
    parity = judge(compared(empty, changed(0, 0, 1)))
    assert parity.disagreement == 1 and not parity.passed


def test_without_cases_there_is_no_verdict():
    with pytest.raises(ValueError, match="no case to compare"):
        judge()


def test_the_record_has_what_the_contract_names():
    document = judge(compared(TRUTH, TRUTH)).to_json()
    assert set(document) >= {"cases", "mean_dice_source", "mean_dice_export", "max_dice_drop", "passed", "reason"}


def test_reduced_precision_is_judged_by_dice_and_the_rest_is_reported():
    other = compared(TRUTH, changed(40, 0, 1))  # 40 of 1500 voxels; Dice falls by 0.01
    assert not judge(other).passed
    parity = judge_parity([other], "torch fp32", "openvino bf16", Tolerance(0.05))
    assert parity.passed and parity.disagreement == pytest.approx(40 / 1500) and "labels" not in parity.reason
    assert not judge_parity([other], "torch fp32", "openvino bf16", TOLERANCES["bf16"]).passed


def test_every_precision_has_its_tolerance():
    assert set(TOLERANCES) == set(export.COMPUTES_IN) >= {precision for _, precision in export.WRITERS}
