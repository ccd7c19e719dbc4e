import numpy as np
import pytest
from scipy.ndimage import zoom

from decaseg.data.resample import resample_image, resample_labels, resample_scalar


def test_the_same_shape_is_not_touched():
    image = np.random.default_rng(0).normal(size=(2, 5, 6, 7)).astype(np.float32)
    assert resample_image(image, (5, 6, 7), (1, 1, 1)) is image


def test_a_ramp_stays_a_ramp_with_edges_on_edges():
    ramp = np.broadcast_to(((np.arange(20) + 0.5) * 1.0)[:, None, None], (20, 6, 6)).astype(np.float32)
    for n in (10, 40, 27):
        found = resample_scalar(ramp, (n, 6, 6))[:, 3, 3]
        np.testing.assert_allclose(found[2:-2], ((np.arange(n) + 0.5) * 20 / n)[2:-2], atol=1e-4)


@pytest.mark.parametrize("shape", [(8, 14, 9), (23, 5, 16)])
def test_images_are_cubic_as_scipy_has_it(shape):
    image = np.random.default_rng(0).normal(size=(2, 12, 10, 11)).astype(np.float32)
    factors = [a / b for a, b in zip(shape, (12, 10, 11), strict=True)]
    expected = [zoom(channel, factors, order=3, mode="nearest", grid_mode=True) for channel in image]
    np.testing.assert_allclose(resample_image(image, shape, (1, 1, 1)), expected, atol=1e-5)


@pytest.mark.parametrize("thick", range(3))
def test_thick_slices_are_repeated_not_blended(thick):
    shape, spacing_mm = [6, 6, 6], [1.0, 1.0, 1.0]
    spacing_mm[thick] = 4.0
    image = np.random.default_rng(0).integers(0, 9, (1, *shape)).astype(np.float32)
    target = list(shape)
    target[thick] = 12
    np.testing.assert_array_equal(resample_image(image, target, spacing_mm)[0], np.repeat(image[0], 2, axis=thick))
    spacing_mm[thick] = 2.9
    assert not np.array_equal(resample_image(image, target, spacing_mm)[0], np.repeat(image[0], 2, axis=thick))


def test_labels_bring_no_values_of_their_own_and_keep_their_volume():
    label = np.zeros((20, 20, 20), np.uint8)
    label[4:16, 4:16, 4:10], label[4:16, 4:16, 10:16] = 3, 200
    for shape in ((10, 10, 10), (31, 25, 40)):
        found = resample_labels(label, shape)
        assert found.dtype == np.uint8 and found.shape == shape and set(np.unique(found)) == {0, 3, 200}
        for value in (3, 200):
            assert (found == value).mean() == pytest.approx((label == value).mean(), rel=0.12)


def test_no_gap_opens_between_neighbouring_labels():
    label = np.ones((9, 9, 9), np.uint8)
    label[:3], label[3:6] = 5, 6
    assert (resample_labels(label, (14, 9, 13)) != 0).all()


def test_labels_up_and_down_again_are_the_same():
    label = np.random.default_rng(0).integers(0, 4, (7, 8, 9)).astype(np.uint8)
    up = np.repeat(np.repeat(np.repeat(label, 3, 0), 3, 1), 3, 2)
    assert (resample_labels(resample_labels(label, up.shape), label.shape) == label).mean() > 0.95
