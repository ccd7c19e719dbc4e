import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from decaseg.metrics import LESION_METRICS, METRICS, LesionRule, MaskPair

ALL = METRICS | LESION_METRICS

SHAPES = hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6)
SPACINGS = st.tuples(*[st.sampled_from([0.5, 0.7, 1.0, 1.3, 4.0])] * 3)
SYMMETRIC = ("dice", "iou", "hd95_mm", "assd_mm", "nsd", "volume_error_ml")


@st.composite
def pairs(draw):
    shape = draw(SHAPES)
    prediction, truth = (draw(hnp.arrays(bool, shape)) for _ in range(2))
    rule = LesionRule(draw(st.sampled_from([0.0, 1.0, 3.0])), draw(st.sampled_from([0.0, 2.0, 50.0])))
    return MaskPair(prediction, truth, draw(SPACINGS), draw(st.sampled_from([0.0, 0.7, 1.0, 2.1])), rule)


def values(pair):
    return {name: metric(pair) for name, metric in ALL.items()}


@settings(max_examples=120, deadline=None)
@given(pairs())
def test_every_value_is_finite_and_in_its_range(pair):
    for name, value in values(pair).items():
        size = pair.truth.size
        highest = {"_mm": pair.diagonal_mm, "_ml": size * pair.voxel_ml, "lesions_": size}
        high = next((limit for part, limit in highest.items() if part in name), 1.0)
        assert isinstance(value, float) and 0.0 <= value <= high * (1 + 1e-12), name


@settings(max_examples=80, deadline=None)
@given(pairs())
def test_swapping_prediction_and_truth_changes_no_symmetric_metric(pair):
    there = values(pair)
    back = values(MaskPair(pair.truth, pair.prediction, pair.spacing_mm, pair.tolerance_mm))
    for name in SYMMETRIC:
        assert there[name] == pytest.approx(back[name], abs=1e-9), name
    assert there["sensitivity"] == back["precision"]


@settings(max_examples=60, deadline=None)
@given(pairs())
def test_equal_masks_are_perfect(pair):
    same = values(MaskPair(pair.truth, pair.truth.copy(), pair.spacing_mm, pair.tolerance_mm, pair.lesion_rule))
    for name in ("dice", "iou", "nsd", "sensitivity", "specificity", "precision", "lesion_dice"):
        assert same[name] == 1.0, name
    for name in ("hd95_mm", "assd_mm", "volume_error_ml", "lesion_hd95_mm", "lesions_missed", "lesions_false"):
        assert same[name] == 0.0, name


@settings(max_examples=80, deadline=None)
@given(pairs(), st.permutations(range(3)), st.tuples(*[st.booleans()] * 3))
def test_axes_have_no_favourite(pair, order, flips):
    def turned(mask):
        return np.flip(mask.transpose(order), [axis for axis, flip in enumerate(flips) if flip])

    spacing = tuple(pair.spacing_mm[axis] for axis in order)
    other = values(MaskPair(turned(pair.prediction), turned(pair.truth), spacing, pair.tolerance_mm, pair.lesion_rule))
    assert other == pytest.approx(values(pair), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(pairs(), st.integers(0, 3))
def test_more_background_changes_only_what_depends_on_the_image(pair, margin):
    wider = [np.pad(mask, margin) for mask in (pair.prediction, pair.truth)]
    before, after = values(pair), values(MaskPair(*wider, pair.spacing_mm, pair.tolerance_mm, pair.lesion_rule))
    one_empty = (pair.predicted_voxels == 0) != (pair.true_voxels == 0)
    of_the_image = {"specificity", "lesion_hd95_mm"} | ({"hd95_mm", "assd_mm"} if one_empty else set())
    for name in set(ALL) - of_the_image:
        assert after[name] == pytest.approx(before[name], abs=1e-9), name


@settings(max_examples=60, deadline=None)
@given(pairs(), st.floats(0.0, 5.0))
def test_a_larger_tolerance_never_lowers_nsd(pair, more):
    wide = MaskPair(pair.prediction, pair.truth, pair.spacing_mm, pair.tolerance_mm + more)
    assert METRICS["nsd"](wide) >= METRICS["nsd"](pair)
