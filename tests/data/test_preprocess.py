import json

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decaseg.data.normalise import Normalisation
from decaseg.data.preprocess import Preprocessing, from_ras, preprocess, preprocess_label, ras_spacing, to_ras
from decaseg.data.targets import make_target
from decaseg.inference.restore import restore_labels
from decaseg.volume import Volume
from tests.data.oriented import ORIENTATIONS, stored

TARGET = make_target("all", {1: "one", 2: "two"})
ZSCORE = Normalisation("zscore_nonzero")


def how(spacing_mm=(1.0, 1.0, 1.0), channels=1, crop=True, normalisation=ZSCORE):
    names = tuple(f"c{i}" for i in range(channels))
    return Preprocessing(names, tuple(range(channels)), channels, spacing_mm, (normalisation,) * channels, crop)


def anatomy(shape=(9, 8, 7)):
    """A RAS image (1, *shape) with an empty border, and a label map without symmetry inside it."""
    rng = np.random.default_rng(3)
    image, label = np.zeros((1, *shape), np.float32), np.zeros((1, *shape), np.uint8)
    image[0, 2:-1, 1:-2, 1:] = rng.uniform(50, 200, (shape[0] - 3, shape[1] - 3, shape[2] - 1))
    label[0, 2:-1, 1:-2, 1:] = rng.integers(0, 3, (shape[0] - 3, shape[1] - 3, shape[2] - 1))
    return image, label


def ball(shape, spacing_mm, centre_mm, radius_mm):
    grid = np.stack(np.meshgrid(*[(np.arange(n) + 0.5) * s for n, s in zip(shape, spacing_mm, strict=True)],
                                indexing="ij"))  # fmt: skip
    return (((grid - np.array(centre_mm)[:, None, None, None]) ** 2).sum(axis=0) < radius_mm**2).astype(np.uint8)


def one_hot(label, classes=3):
    return np.stack([(label == k).astype(np.float32) for k in range(classes)])


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_undoing_gives_back_shape_affine_and_labels_in_all_48_orientations(order, signs):
    image, label = anatomy()
    volume, truth = stored(image, order, signs), stored(label, order, signs)
    array, undo = preprocess(volume, how())
    seen = preprocess_label(truth, undo)
    np.testing.assert_array_equal(seen, label[0, 2:-1, 1:-2, 1:])  # RAS, cropped to the body
    assert array.shape == (1, *seen.shape) and array.dtype == np.float32
    back = restore_labels(one_hot(seen), TARGET, undo)
    np.testing.assert_array_equal(back.array, truth.array)
    np.testing.assert_array_equal(back.affine, volume.affine)
    assert back.array.dtype == np.uint8 and back.array.flags.c_contiguous


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_to_ras_is_nibabels_canonical_and_from_ras_its_inverse(order, signs):
    image, _ = anatomy()
    volume = stored(image, order, signs)
    canonical = nib.as_closest_canonical(nib.Nifti1Image(volume.array[0], volume.affine))
    turned = to_ras(volume.array, volume.grid)
    np.testing.assert_array_equal(turned[0], np.asarray(canonical.dataobj))
    np.testing.assert_array_equal(turned, image)
    np.testing.assert_array_equal(from_ras(turned, volume.grid), volume.array)


@settings(max_examples=25, deadline=None)
@given(
    orientation=st.sampled_from(ORIENTATIONS),
    spacing_mm=st.tuples(*[st.floats(0.5, 3.0)] * 3),
    target_mm=st.tuples(*[st.floats(0.7, 1.6)] * 3),
    shape=st.tuples(*[st.integers(16, 26)] * 3),
)
def test_undoing_gives_back_the_grid_and_the_ball_at_any_spacing(orientation, spacing_mm, target_mm, shape):
    size_mm = np.multiply(shape, spacing_mm)
    radius = 0.42 * size_mm.min()
    label = ball(shape, spacing_mm, size_mm / 2, radius)[None]
    volume, truth = stored(label * np.float32(100) + 1, *orientation, spacing_mm), stored(label, *orientation)
    array, undo = preprocess(volume, how(target_mm))
    seen = preprocess_label(truth, undo)
    expected = [max(1, round(e / t)) for e, t in zip(size_mm, target_mm, strict=True)]
    assert all(abs(a - b) <= 1 for a, b in zip(array.shape[1:], expected, strict=True))
    assert seen.shape == array.shape[1:]
    back = restore_labels(one_hot(seen), TARGET, undo)
    assert back.shape == volume.shape
    np.testing.assert_array_equal(back.affine, volume.affine)
    both = np.count_nonzero(back.array & truth.array)
    assert 2 * both / (np.count_nonzero(back.array) + np.count_nonzero(truth.array)) > 0.85


def test_oblique_affine_comes_back_bit_for_bit():
    angle = np.deg2rad(17)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    image, label = anatomy()
    volume = Volume.of(image, affine)
    _, undo = preprocess(volume, how())
    back = restore_labels(one_hot(preprocess_label(Volume.of(label, affine), undo)), TARGET, undo)
    assert back.affine.tobytes() == volume.affine.tobytes()
    np.testing.assert_array_equal(back.array, label)


def test_nearly_the_same_spacing_is_not_resampled():
    image, _ = anatomy((200, 8, 7))
    array, _ = preprocess(stored(image, (0, 1, 2), (1, 1, 1), (1.006, 1.0, 1.0)), how(crop=False))
    assert array.shape == image.shape


def test_ras_spacing_follows_the_world_axes():
    image, _ = anatomy()
    assert ras_spacing(stored(image, (2, 0, 1), (1, -1, 1), (1.0, 2.0, 3.0)).grid) == (1.0, 2.0, 3.0)


def test_zscore_nonzero_has_mean_0_and_deviation_1_inside_and_0_outside():
    image, _ = anatomy()
    volume = Volume.of(image)
    array, _ = preprocess(volume, how(crop=False))
    inside = image[0] != 0
    assert array[0][inside].mean() == pytest.approx(0, abs=1e-5)
    assert array[0][inside].std() == pytest.approx(1, abs=1e-5)
    assert (array[0][~inside] == 0).all()


def test_voxels_are_nonzero_where_any_channel_is():
    image = np.zeros((2, 6, 6, 6), np.float32)
    image[0, 1:4, 1:4, 1:4], image[1, 2:5, 2:5, 2:5] = 3, 7
    image[0, 1, 1, 1] = 9
    array, undo = preprocess(Volume.of(image), how(channels=2))
    assert undo.box.start == (1, 1, 1) and undo.box.stop == (5, 5, 5)
    union = (image != 0).any(axis=0)[undo.box.slices]
    for channel in range(2):
        raw = image[channel][undo.box.slices]
        expected = np.where(union, (raw - raw[union].mean()) / raw[union].std(), 0)
        np.testing.assert_allclose(array[channel], expected, atol=1e-5)


def test_ct_is_clipped_then_scaled_by_the_data_sets_numbers():
    image = np.array([-2000, -100, 50, 300, 3000], np.float32).reshape(1, 5, 1, 1)
    ct = Normalisation("ct", mean=50.0, std=25.0, low=-100.0, high=300.0)
    array, _ = preprocess(Volume.of(image), how(crop=False, normalisation=ct))
    np.testing.assert_allclose(array.ravel(), [-6, -6, 0, 10, 10])


@pytest.mark.parametrize("kind", ["zscore", "zscore_nonzero", "ct"])
@pytest.mark.parametrize("value", [0, 5])
def test_constant_and_empty_images_stay_finite(kind, value):
    array, undo = preprocess(Volume.of(np.full((4, 5, 6), value, np.int16)), how(normalisation=Normalisation(kind)))
    assert np.isfinite(array).all() and undo.box.shape == (4, 5, 6)


def test_channels_are_selected_by_place_and_other_numbers_refused():
    image = np.stack([np.full((4, 4, 4), c, np.float32) for c in (10, 20, 30)])
    chosen = Preprocessing(("b",), (1,), 3, (1.0, 1.0, 1.0), (Normalisation("ct", 0, 1, -99, 99),))
    assert (preprocess(Volume.of(image), chosen)[0] == 20).all()
    assert (preprocess(Volume.of(image[2]), chosen)[0] == 30).all()
    with pytest.raises(ValueError, match="has 2 channels"):
        preprocess(Volume.of(image[:2]), chosen)


def test_preprocessing_survives_json():
    assert Preprocessing.from_json(how((1.0, 2.0, 3.0), 2).to_json()) == how((1.0, 2.0, 3.0), 2)


def test_zscore_centre_takes_its_moments_from_the_middle():
    channel = np.zeros((30, 20, 9), np.float32)
    channel[10:20] = np.random.default_rng(0).normal(50, 7, (10, 20, 9))
    how = Normalisation("zscore_centre", centre=(10, 20, 8))
    found = how(channel, channel != 0)
    middle = channel[10:20, :, :8].astype(np.float64)  # nothing is left in front where less than 5 voxels would be
    np.testing.assert_allclose(found, (channel - middle.mean()) / middle.std(), rtol=1e-5, atol=1e-6)
    assert Normalisation.from_json(json.loads(json.dumps(how.to_json()))) == how


def test_plans_from_before_it_are_read_and_others_look_as_they_did():
    assert Normalisation.from_json({"kind": "zscore", "mean": 0, "std": 1, "low": 0, "high": 0}).centre is None
    assert "centre" not in Normalisation("zscore").to_json()
