"""Numbers in, numbers out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from decaseg.geometry import Box, bounding_box, float3, int3, resampled_shape


@settings(deadline=None)
@given(hnp.arrays(bool, st.tuples(*[st.integers(1, 6)] * 3)))
def test_bounding_box_is_the_smallest_that_holds_all(mask: np.ndarray) -> None:
    box = bounding_box(mask)
    if box is None:
        assert not mask.any()
        return
    where = np.argwhere(mask)
    assert box == Box(int3(where.min(axis=0)), int3(where.max(axis=0) + 1))
    assert mask[box.slices].sum() == mask.sum() and mask[box.slices].shape == box.shape


def test_grown_stays_inside() -> None:
    assert Box((1, 0, 4), (2, 3, 5)).grown(2, (3, 9, 6)) == Box((0, 0, 2), (3, 5, 6))


def test_resampled_shape_keeps_at_least_one_voxel() -> None:
    assert resampled_shape((240, 240, 155), (1, 1, 1), (1, 1, 1)) == (240, 240, 155)
    assert resampled_shape((1, 3, 10), (1, 1, 5), (10, 1, 1)) == (1, 3, 50)


def test_three_means_three() -> None:
    assert int3(np.array([1, 2, 3])) == (1, 2, 3) and float3([1, 2, 3]) == (1.0, 2.0, 3.0)
    with pytest.raises(ValueError):
        int3([1, 2])
