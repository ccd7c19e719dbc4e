"""A brain that lies as its header says passes; what is no brain, or lies otherwise, is named."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from decaseg.data.phantom import generate_case
from decaseg.inference.brain_check import check_brain, coarsened
from decaseg.volume import Volume

pytest.importorskip("nilearn")


@pytest.fixture(scope="module")
def brains():
    return [generate_case(9, number, 3.0)[0] for number in range(3)]


def flair(brain: Volume) -> Volume:
    return Volume.of(brain.array[:1], brain.affine)


def test_brains_pass(brains):
    for brain in brains:
        assert check_brain(flair(brain)) == []


def test_a_brain_passes_however_its_array_is_stored(brains):
    image = flair(brains[0])
    for order, flips in product(permutations(range(3)), product((False, True), repeat=3)):
        array = np.transpose(image.array[0], order)
        affine = image.affine[:, [*order, 3]].copy()
        for axis in range(3):
            if flips[axis]:
                array = np.flip(array, axis)
                affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
                affine[:3, axis] *= -1
        assert check_brain(Volume.of(array.copy(), affine)) == [], (order, flips)


@pytest.mark.parametrize(
    ("how", "word"),
    [
        (lambda a: a[:, :, ::-1], "upside down"),
        (lambda a: a[:, ::-1], "back to front"),
        (lambda a: np.swapaxes(a, 0, 1), "turned"),
        (lambda a: np.swapaxes(a, 1, 2), "turned"),
        (lambda a: np.rot90(a, 1, (1, 2)), "turned"),
    ],
)
def test_a_header_that_turns_the_brain_is_named(brains, how, word):
    for brain in brains:
        (finding,) = check_brain(Volume.of(how(brain.array[0]).copy(), brain.affine))
        assert word in finding.text
        assert "mend the header" in finding.text


def test_left_and_right_swapped_is_not_claimed_to_be_seen(brains):
    assert check_brain(Volume.of(brains[0].array[0, ::-1].copy(), brains[0].affine)) == []


def test_a_head_with_its_skull_is_refused(brains):
    brain = brains[0].array[0]
    noise = np.random.default_rng(0).rayleigh(5, brain.shape).astype(np.float32)
    (finding,) = check_brain(Volume.of(np.maximum(brain, noise), brains[0].affine))
    assert finding.refuse
    assert "strip the skull" in finding.text
    world = np.indices((80, 90, 80)) - np.array([40, 45, 40]).reshape(3, 1, 1, 1)
    head = ((world / np.array([26, 32, 34]).reshape(3, 1, 1, 1)) ** 2).sum(0) < 1
    (finding,) = check_brain(Volume.of(head.astype(np.float32), np.diag([3.0, 3.0, 3.0, 1.0])))
    assert finding.refuse
    assert "ml of tissue, more than a brain has" in finding.text


def test_what_is_no_brain_is_refused(brains):
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    cross = np.zeros((60, 70, 60), np.float32)
    cross[25:35], cross[:, 30:40] = 1, 1
    tubes = np.zeros((60, 70, 60), np.float32)
    tubes[5:20, 5:65, 5:55] = 1
    tubes[40:55, 5:65, 5:55] = 1
    small = Volume.of(brains[0].array[0], np.diag([1.0, 1.0, 1.0, 1.0]))
    for image in (Volume.of(cross, affine), Volume.of(tubes, affine), small):
        (finding,) = check_brain(image)
        assert finding.refuse, finding
    (finding,) = check_brain(Volume.of(np.zeros((20, 20, 20)), affine))
    assert "is empty" in finding.text


def test_a_background_of_another_value_is_background(brains):
    shifted = brains[0].array[0].astype(np.float32) - 7.5
    assert check_brain(Volume.of(shifted, brains[0].affine)) == []


def test_coarsening_keeps_the_share():
    mask = np.random.default_rng(1).random((31, 17, 45)) < 0.3
    found = coarsened(mask, (14, 16, 14))
    assert found.shape == (14, 16, 14)
    assert found.mean() == pytest.approx(mask.mean(), abs=1e-12)
