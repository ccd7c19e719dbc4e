import numpy as np
import pytest

from decaseg.metrics import CaseScores, MaskPair, score_case
from decaseg.metrics.pair import SurfaceDistances


def cube(start, stop, value=1, shape=(12, 12, 12)):
    found = np.zeros(shape, np.uint8)
    found[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = value
    return found


def test_a_slab_moved_by_two_voxels_by_hand():
    """Slabs across the whole image, 4 voxels of 3 mm thick, one 2 voxels further: 6 mm apart at both faces."""
    truth = cube((2, 0, 0), (6, 12, 12))
    prediction = cube((4, 0, 0), (8, 12, 12))
    scores = score_case(prediction, truth, {"slab": (1,)}, (3.0, 1.0, 1.0)).structures["slab"]
    assert scores["dice"] == scores["sensitivity"] == scores["precision"] == 0.5
    assert scores["iou"] == pytest.approx(1 / 3)
    assert scores["specificity"] == 1 - 2 / 8  # 2 of the 8 planes that are background
    assert scores["volume_ml"] == scores["volume_truth_ml"] == pytest.approx(4 * 144 * 3 / 1000)
    assert scores["volume_error_ml"] == 0
    assert scores["hd95_mm"] == 6.0
    assert scores["assd_mm"] < 6.0  # the rims of the slabs overlap


def test_the_percentile_counts_area_not_elements():
    surface = SurfaceDistances(np.array([0.0, 1.0, 5.0]), np.array([90.0, 5.0, 5.0]))
    assert surface.percentile_mm(90) == 0.0
    assert surface.percentile_mm(95) == 1.0
    assert surface.percentile_mm(95.1) == 5.0
    assert surface.area_within_mm2(1.0) == 95.0


def test_a_tolerance_of_three_steps_of_a_tenth_holds_three_steps_of_a_tenth():
    """3 * 0.1 is 0.30000000000000004 in binary; what lies at the tolerance is within it."""
    truth, prediction = cube((2, 2, 2), (5, 9, 9)), cube((2, 2, 2), (8, 9, 9))
    scores = score_case(prediction, truth, {"s": (1,)}, (0.1, 0.1, 0.1), tolerances_mm={"s": 0.3})
    assert scores.structures["s"]["nsd"] == 1.0


def test_one_stray_voxel_reaches_the_largest_distance_but_not_hd95():
    truth = cube((4, 4, 4), (9, 9, 9))
    prediction = truth.copy()
    prediction[0, 0, 0] = 1
    scores = score_case(prediction, truth, {"s": (1,)}, (1, 1, 1)).structures["s"]
    assert scores["hd95_mm"] == 0.0
    pair = MaskPair(prediction > 0, truth > 0, (1.0, 1.0, 1.0))
    assert pair.prediction_to_truth.distances_mm[-1] == pytest.approx(48**0.5)


def test_structures_may_overlap_and_have_other_values_in_the_prediction():
    truth = cube((2, 2, 2), (6, 6, 6)) + 2 * cube((6, 2, 2), (8, 6, 6)) // 1
    structures = {"whole": (1, 2), "core": (2,)}
    painted = (truth > 0).astype(np.int64) * 5
    scores = score_case(painted, truth, structures, (1, 1, 1), predicted={"whole": (5,), "core": (9,)})
    assert scores.structures["whole"]["dice"] == 1.0
    assert scores.structures["core"]["dice"] == 0.0
    assert scores.mean_dice == 0.5


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.int64, bool])
def test_any_whole_number_type_and_memory_order_scores_the_same(dtype):
    truth, prediction = cube((2, 2, 2), (7, 8, 9)), cube((3, 2, 2), (7, 9, 9))
    plain = score_case(prediction, truth, {"s": (1,)}, (1, 2, 3))
    other = score_case(np.asfortranarray(prediction.astype(dtype)), truth.astype(dtype), {"s": (1,)}, (1, 2, 3))
    assert other == plain


def test_nothing_is_changed():
    truth, prediction = cube((2, 2, 2), (7, 8, 9)), cube((3, 2, 2), (7, 9, 9))
    before = truth.copy(), prediction.copy()
    score_case(prediction, truth, {"s": (1, 2)}, (1, 1, 1))
    assert (truth == before[0]).all() and (prediction == before[1]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prediction": np.zeros((3, 3, 4), np.uint8)}, "bring both to one grid"),
        ({"prediction": np.zeros((1, 3, 3, 3), np.uint8)}, "a label map is"),
        ({"prediction": np.zeros((3, 3, 3), np.float32)}, "holds float32 values"),
        ({"structures": {}}, "name at least one"),
        ({"spacing_mm": (1, 0, 1)}, "three positive lengths"),
        ({"spacing_mm": (1, float("nan"), 1)}, "three positive lengths"),
        ({"predicted": {"b": (1,)}}, "name the same ones"),
        ({"tolerances_mm": {"b": 1.0}}, "not among"),
        ({"tolerances_mm": {"a": -1.0}}, "0 mm or more"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(change, message):
    good = {
        "prediction": np.zeros((3, 3, 3), np.uint8),
        "truth": np.zeros((3, 3, 3), np.uint8),
        "structures": {"a": (1,)},
        "spacing_mm": (1, 1, 1),
    }
    assert isinstance(score_case(**good), CaseScores)
    with pytest.raises(ValueError, match=message):
        score_case(**(good | change))


def test_what_is_ignored_counts_nowhere():
    """As if the ignored slab were not there; specificity, which divides by all voxels, included."""
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 3, (2, 8, 9, 10)).astype(np.uint8)
    truth[:, :, 6:] = 9
    structures = {"one": (1,), "both": (1, 2)}
    found = score_case(prediction, truth, structures, (1, 1, 1), ignored=9).structures
    alone = score_case(prediction[:, :, :6], truth[:, :, :6], structures, (1, 1, 1)).structures
    for name in structures:
        for metric in ("dice", "sensitivity", "specificity", "precision", "iou", "volume_ml"):
            assert found[name][metric] == pytest.approx(alone[name][metric])
    assert prediction[:, :, 6:].any() and (truth[:, :, 6:] == 9).all()  # nothing is changed
