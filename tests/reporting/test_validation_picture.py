from __future__ import annotations

import numpy as np
import pytest

from decaseg.reporting.paint import VERDICTS, structure_colour
from decaseg.reporting.validation_picture import draw_validation


def near(pixels, colour, by=60):
    """Where a colour is, mixed with the grey below it."""
    there = pixels.astype(int) - np.array(colour)
    return np.abs(there).sum(axis=2) < by


@pytest.fixture
def masks():
    """In RAS: what is right lies to the right and in front, what is missed to the left and behind."""
    truth = [np.zeros((20, 24, 8), bool) for _ in range(2)]
    truth[0][13:17, 15:19, 3:6] = True
    truth[1][3:7, 3:7, 3:6] = True
    return truth, [truth[0], np.zeros((20, 24, 8), bool)]


def test_right_is_on_the_left_and_the_front_is_up(masks):
    truth, found = masks
    pixels = draw_validation(np.zeros((20, 24, 8), np.float32), truth, found, ["core", "rim"], (1.0, 1.0, 3.0))
    axial = pixels[:, : pixels.shape[1] // 3]
    right, missed = (np.argwhere(near(axial, [c * 0.45 for c in VERDICTS[v][1]])) for v in (1, 3))
    assert len(right) > 100 and len(missed) > 100
    assert (right.mean(axis=0) < missed.mean(axis=0)).all()


def test_voxels_have_their_true_proportions(masks):
    truth, _ = masks
    thick = draw_validation(np.ones((20, 24, 8), np.float32), truth, truth, ["core", "rim"], (1.0, 1.0, 3.0))
    flat = draw_validation(np.ones((20, 24, 8), np.float32), truth, truth, ["core", "rim"], (1.0, 1.0, 1.0))
    assert thick.shape[1] == flat.shape[1] == 580

    # 24 mm deep, 24 or 8 mm high: the tallest plane is the axial one in both, the coronal one grows threefold.
    def tall(pixels):
        middle = pixels[:, 240:300].astype(int)
        return np.flatnonzero((middle.sum(axis=2) > 150).mean(axis=1) > 0.5).size

    assert tall(thick[:230]) > 2 * tall(flat[:230])


def test_several_structures_have_their_outlines_and_names(masks):
    truth, found = masks
    image = np.random.default_rng(0).normal(size=(20, 24, 8)).astype(np.float32)
    pixels = draw_validation(image, truth, found, ["core", "rim"], (1.0, 1.0, 3.0))
    for colour in map(structure_colour, (0, 1)):
        assert near(pixels, colour).sum() > 20
    one = draw_validation(image, truth[:1], found[:1], ["core"], (1.0, 1.0, 3.0))
    assert one.shape[0] < pixels.shape[0], "the legend of several structures has a second line"


def test_a_case_without_truth_and_contrast_has_a_picture_too():
    nothing = [np.zeros((30, 20, 4), bool)]
    assert draw_validation(np.ones((30, 20, 4), np.float32), nothing, nothing, ["a"], (1.0, 1.0, 1.0)).shape[1] == 580
