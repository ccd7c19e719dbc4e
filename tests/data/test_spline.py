"""The matrices that resample, against scipy's zoom."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from decaseg.data.resample import _spline_matrix


@settings(deadline=None)
@given(length=st.integers(1, 60), wanted=st.integers(1, 60), order=st.sampled_from([0, 1, 3]), seed=st.integers(0, 99))
def test_a_line_is_interpolated_as_scipy_does(length, wanted, order, seed):
    line = np.random.default_rng(seed).normal(size=length)
    expected = ndimage.zoom(line, wanted / length, order=order, mode="nearest", grid_mode=True)
    if order == 0:  # where a centre lies between two voxels, rounding decides
        centres = (np.arange(wanted) + 0.5) * (length / wanted) - 0.5
        clear = np.abs(centres % 1 - 0.5) > 1e-6
    else:
        clear = np.ones(wanted, bool)
    np.testing.assert_allclose((_spline_matrix(length, wanted, order) @ line)[clear], expected[clear], atol=1e-5)
