"""Lesion-wise scores: by hand, and against a slow transcription of the steps that BraTS 2023 published."""

import numpy as np
import pytest
import surface_distance as deepmind
from scipy import ndimage

from decaseg.data.targets import make_target
from decaseg.metrics import LESION_METRICS, LESION_RULES, LesionRule, MaskPair, score_case
from decaseg.metrics.lesions import dilated
from tests.metrics.shapes import brain_label_maps, no_brains, random_pair

RULE = LESION_RULES["glioma"]
SHAPE = (40, 30, 20)


def cubes(*starts, side=4):
    """A mask with a cube of `side` voxels (64 of 1 mm: more than the 50 that do not count) at each start."""
    mask = np.zeros(SHAPE, bool)
    for start in starts:
        mask[tuple(slice(a, a + side) for a in start)] = True
    return mask


def values(prediction, truth, spacing=(1.0, 1.0, 1.0), rule=RULE):
    pair = MaskPair(prediction, truth, spacing, lesion_rule=rule)
    return {name: metric(pair) for name, metric in LESION_METRICS.items()}


def transcribed(prediction, truth, spacing, dilation, ignored_mm3, penalty_mm):
    """The published outline step by step on whole arrays: (Dice, HD95, found, missed, false)."""
    neighbours = ndimage.generate_binary_structure(3, 2)
    everything = np.ones((3, 3, 3))
    wide, n = ndimage.label(ndimage.binary_dilation(truth, neighbours, iterations=dilation), everything)
    component, m = ndimage.label(prediction, everything)
    matched, dices, distances, found, missed = set(), [], [], 0, 0
    for k in range(1, n + 1):
        lesion = truth & (wide == k)
        near = ndimage.binary_dilation(lesion, neighbours, iterations=dilation)
        own = sorted(set(component[near].tolist()) - {0})
        matched |= set(own)
        if lesion.sum() * np.prod(spacing) <= ignored_mm3:
            continue
        found, missed = found + bool(own), missed + (not own)
        if not own:
            dices.append(0.0)
            distances.append(penalty_mm)
            continue
        mine = np.isin(component, own)
        dices.append(deepmind.compute_dice_coefficient(lesion, mine))
        surfaces = deepmind.compute_surface_distances(lesion, mine, spacing)
        distances.append(deepmind.compute_robust_hausdorff(surfaces, 95))
    false = m - len(matched)
    total = len(dices) + false
    if not total:
        return 1.0, 0.0, 0, 0, 0
    return sum(dices) / total, (sum(distances) + false * penalty_mm) / total, found, missed, false


def test_one_found_one_missed_one_made_up():
    truth = cubes((2, 2, 2), (20, 2, 2))
    prediction = cubes((3, 2, 2), (34, 20, 12))  # the first moved by one voxel; nothing for the second; one too many
    diagonal = np.sqrt(40**2 + 30**2 + 20**2)
    found = values(prediction, truth)
    assert found["lesion_dice"] == pytest.approx(0.75 / 3)
    assert found["lesion_hd95_mm"] == pytest.approx((1 + 2 * diagonal) / 3)
    assert (found["lesions_found"], found["lesions_missed"], found["lesions_false"]) == (1, 1, 1)


def test_a_perfect_prediction_of_two_lesions():
    truth = cubes((2, 2, 2), (20, 2, 2))
    assert list(values(truth, truth).values()) == [1.0, 0.0, 2.0, 0.0, 0.0]


def test_lesions_whose_dilated_masks_touch_are_one():
    """A gap of 6 voxels: 3 and 3 voxels of dilation meet in the middle. A gap of 7: one voxel stays between them."""
    for gap, lesions in ((1, 1), (6, 1), (7, 2)):
        truth = cubes((2, 2, 2), (6 + gap, 2, 2))
        assert values(truth, truth)["lesions_found"] == lesions, gap


def test_a_component_beside_a_lesion_is_its_prediction_and_not_a_false_one():
    truth = cubes((2, 2, 2))
    near, far = cubes((8, 2, 2)), cubes((9, 2, 2))  # 2 voxels between the cubes, and 3
    assert values(near, truth)["lesions_found"] == 1 and values(near, truth)["lesions_false"] == 0
    assert values(near, truth)["lesion_dice"] == 0.0
    assert values(far, truth)["lesions_missed"] == 1 and values(far, truth)["lesions_false"] == 1


def test_small_lesions_do_not_count_and_what_was_predicted_for_them_is_not_false():
    truth = cubes((2, 2, 2)) | cubes((20, 20, 10), side=3)  # 27 mm³: not more than 50
    prediction = cubes((2, 2, 2)) | cubes((20, 20, 10), side=2)
    assert list(values(prediction, truth).values()) == [1.0, 0.0, 1.0, 0.0, 0.0]
    assert values(cubes((2, 2, 2)), truth)["lesions_missed"] == 0
    assert values(prediction, truth, rule=LESION_RULES["metastases"])["lesions_found"] == 2
    assert values(prediction, truth, spacing=(1, 1, 2.0))["lesions_found"] == 2  # 54 mm³


def test_small_false_components_count():
    truth = cubes((2, 2, 2))
    prediction = truth.copy()
    prediction[-1, -1, -1] = True
    assert values(prediction, truth)["lesion_dice"] == 0.5


def test_a_missed_structure_is_the_worst_even_where_all_its_lesions_are_small():
    """The house's rule for empty masks comes first; BraTS gives 1 here."""
    truth = cubes((2, 2, 2), side=3)
    assert values(np.zeros_like(truth), truth)["lesion_dice"] == 0.0


def test_dilation_is_brats_at_one_millimetre_and_in_millimetres_elsewhere():
    _, mask = random_pair(3, (20, 22, 18))
    mask &= np.random.default_rng(0).random(mask.shape) < 0.02
    theirs = ndimage.binary_dilation(mask, ndimage.generate_binary_structure(3, 2), iterations=3)
    np.testing.assert_array_equal(dilated(mask, (1.0, 1.0, 1.0), 3.0), theirs)
    point = np.zeros((15, 15, 15), bool)
    point[7, 7, 7] = True
    x, y, z = np.argwhere(dilated(point, (0.5, 1.0, 3.5), 3.0)).T - 7
    assert (np.abs(x).max(), np.abs(y).max(), np.abs(z).max()) == (6, 3, 0)
    half = dilated(point, (0.5, 0.5, 0.5), 1.5)  # the same steps as 1 mm and 3 mm
    np.testing.assert_array_equal(half, dilated(point, (1.0, 1.0, 1.0), 3.0))


@pytest.mark.parametrize("seed", range(12))
def test_many_small_lesions_are_counted_as_the_outline_says(seed):
    random = np.random.default_rng(seed)
    prediction, truth = (ndimage.gaussian_filter(random.normal(size=(44, 40, 36)), 1.6) > 0.1 for _ in range(2))
    prediction = np.where(random.random() < 0.5, prediction & truth, prediction).astype(bool)
    spacing = (1.0, 1.0, 1.0)
    for dilation, ignored in ((1, 2.0), (1, 50.0), (3, 50.0)):
        penalty = float(np.linalg.norm(truth.shape))
        theirs = transcribed(prediction, truth, spacing, dilation, ignored, penalty)
        ours = values(prediction, truth, spacing, LesionRule(float(dilation), ignored))
        assert list(ours.values()) == pytest.approx(theirs, abs=1e-9)


@pytest.mark.skipif(no_brains(), reason="no ../shared/data/Task01_BrainTumour")
def test_real_tumours_region_by_region_are_counted_as_the_outline_says():
    names = {1: "edema", 2: "non-enhancing tumor", 3: "enhancing tumour"}
    regions = make_target("brats", names).label_sets
    assert list(regions.values()) == [(1, 2, 3), (2, 3), (3,)]
    first, second = brain_label_maps(2)
    moved = np.roll(first, (1, 0, -1), (0, 1, 2))
    moved[first.shape[0] // 2 :] = second[first.shape[0] // 2 :]  # half of another patient's: lesions false and missed
    box = ndimage.find_objects(((first > 0) | (moved > 0)).astype(np.uint8))[0]
    first, moved = first[box], moved[box]
    scores = score_case(moved, first, regions, (1, 1, 1), lesions=RULE).structures
    for name, labels in regions.items():
        penalty = float(np.linalg.norm(first.shape))
        theirs = transcribed(np.isin(moved, labels), np.isin(first, labels), (1, 1, 1), 3, 50.0, penalty)
        assert [scores[name][metric] for metric in LESION_METRICS] == pytest.approx(theirs, abs=1e-9), name
