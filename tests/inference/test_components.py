"""Components and holes in numpy against scipy's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from decaseg.inference.components import components, fill_holes

MASKS = arrays(bool, array_shapes(min_dims=3, max_dims=3, max_side=7))
STRUCTURE = {26: np.ones((3, 3, 3)), 6: None}


def check(mask, neighbours):
    found = components(mask, neighbours)
    truth, count = ndimage.label(mask, STRUCTURE[neighbours])
    assert found.count == count
    sizes = []
    for number in range(count):
        mine = found.mask(np.arange(count) == number)
        np.testing.assert_array_equal(mine, truth == truth[mine][0])
        sizes.append(np.count_nonzero(mine))
    assert found.voxels.tolist() == sizes
    np.testing.assert_array_equal(found.mask(np.ones(count, bool)), mask)


@given(mask=MASKS, neighbours=st.sampled_from([6, 26]), turned=st.booleans())
def test_components_are_those_of_scipy(mask, neighbours, turned):
    check(mask.transpose(2, 1, 0) if turned else mask, neighbours)  # the file's own order is Fortran's


@given(mask=MASKS)
def test_holes_are_those_of_scipy(mask):
    np.testing.assert_array_equal(fill_holes(mask), ndimage.binary_fill_holes(mask))


@pytest.mark.parametrize("neighbours", [6, 26])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6])
def test_large_and_tangled_masks_too(neighbours, share):
    rng = np.random.default_rng(0)
    mask = ndimage.gaussian_filter(rng.random((40, 50, 60)), 0.7) > np.quantile(rng.random(1000), 1 - share) * 0.4 + 0.3
    truth, count = ndimage.label(mask, STRUCTURE[neighbours])
    found = components(mask, neighbours)
    assert found.count == count > 0
    np.testing.assert_array_equal(np.sort(found.voxels), np.sort(np.bincount(truth.ravel())[1:]))


def test_a_snake_of_many_runs_is_one_component():
    mask = np.zeros((1, 200, 200), bool)
    mask[0, ::2] = True
    mask[0, 1::4, -1] = mask[0, 3::4, 0] = True  # up and down through all lines
    assert components(mask, 6).count == 1
    spiral = np.ascontiguousarray(mask.transpose(0, 2, 1))  # every line has a hundred runs
    assert components(spiral, 6).count == 1 == components(spiral, 26).count
