from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.inferers import sliding_window_inference

from decaseg.inference.windows import gaussian_weights, slide, window_starts


@given(size=st.integers(1, 300), window=st.integers(1, 80), step=st.floats(0.05, 1.0))
def test_windows_cover_every_voxel_and_stay_inside(size, window, step):
    starts = window_starts(size, window, step)
    assert starts[0] == 0 and starts == sorted(set(starts))
    assert starts[-1] == max(0, size - window)
    assert all(b - a <= max(1, np.ceil(window * step)) for a, b in pairwise(starts))


@pytest.mark.parametrize("step", [0, -0.5, 1.5])
def test_a_step_outside_0_to_1_is_refused(step):
    with pytest.raises(ValueError, match="--step"):
        window_starts(10, 5, step)


@pytest.mark.parametrize("size", [(17, 21, 13), (9, 9, 9), (13, 9, 21)])
@pytest.mark.parametrize("edge", [8, 9])
def test_equals_monais_where_the_windows_start_at_the_same_places(size, edge):
    size = tuple(n - (9 - edge) for n in size)
    torch.manual_seed(0)
    network = torch.nn.Conv3d(2, 3, 3, padding=1)
    image = torch.rand(2, *size)
    with torch.no_grad():
        expected = sliding_window_inference(image[None], (edge,) * 3, 1, network, overlap=0.5, mode="gaussian",
                                            sigma_scale=0.125)[0]  # fmt: skip
        found = slide(image.numpy(), (edge, edge, edge), lambda w: network(torch.from_numpy(w)).numpy())
    np.testing.assert_allclose(found, expected.numpy(), atol=2e-5)


@pytest.mark.parametrize("size", [(8, 8, 8), (21, 9, 30), (3, 9, 5), (1, 1, 1)])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_network_that_sees_one_voxel_is_reproduced_whatever_the_windows(size, batch_size):
    image = np.random.default_rng(0).normal(size=(2, *size)).astype(np.float32)
    told = []
    found = slide(image, (8, 6, 8), lambda w: w * 3, 0.4, batch_size, lambda n, total: told.append((n, total)))
    np.testing.assert_allclose(found, image * 3, atol=1e-5)
    assert told[-1][0] == told[-1][1] and told == sorted(told)


def test_a_constant_network_gives_that_constant_everywhere():
    found = slide(np.zeros((1, 19, 23, 11), np.float32), (8, 8, 8), lambda w: np.full((len(w), 2, 8, 8, 8), 5.0))
    assert found.shape == (2, 19, 23, 11) and found.dtype == np.float32
    np.testing.assert_allclose(found, 5, rtol=1e-6)


def test_a_small_volume_is_padded_on_both_sides():
    seen = []
    slide(np.ones((1, 4, 5, 8), np.float32), (8, 8, 8), lambda w: (seen.append(w.copy()), w)[1])
    (window,) = seen
    assert (window[0, 0, 2:6, 1:6] == 1).all() and window.sum() == 4 * 5 * 8


def test_weights_trust_the_middle_alike_on_all_sides():
    weights = gaussian_weights((9, 7, 11))
    assert weights.shape == (9, 7, 11) and weights.max() == 1 and weights.min() >= 1e-3
    np.testing.assert_array_equal(weights, weights[::-1, ::-1, ::-1])
    assert weights[4, 3, 5] == 1
