from dataclasses import replace

import numpy as np
import pytest

from decaseg.data.normalise import Normalisation
from decaseg.data.preprocess import Preprocessing, to_ras
from decaseg.data.targets import make_target
from decaseg.inference.predictor import Predictor
from decaseg.storage import nifti
from decaseg.volume import Volume
from tests.data.oriented import ORIENTATIONS, stored


class Toy:
    """An engine whose answer depends on where in the window a voxel lies, unlike in any two directions."""

    name, precision = "toy", "fp32"

    def __init__(self):
        self.calls = 0

    def __call__(self, windows):
        self.calls += 1
        x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in windows.shape[2:]], indexing="ij")
        return np.stack([0 * windows[:, 0], windows[:, 0] + x + 2 * y, 3 * z - x + 0.3 * windows[:, 0] ** 2],
                        axis=1).astype(np.float32)  # fmt: skip


def predictor(spacing_mm=(1.0, 1.0, 1.0), **more):
    how = Preprocessing(("MRI",), (0,), 1, spacing_mm, (Normalisation("zscore"),))
    return Predictor(Toy(), how, make_target("all", {1: "a", 2: "b"}), (8, 10, 6), **more)


IMAGE = np.random.default_rng(0).integers(1, 100, (1, 12, 10, 9)).astype(np.int16)


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_how_a_file_stores_its_axes_does_not_change_the_anatomy_that_is_labelled(tmp_path, order, signs):
    straight = predictor()(Volume.of(IMAGE)).labels.array
    assert set(np.unique(straight)) == {0, 1, 2}
    nifti.write(tmp_path / "x.nii.gz", stored(IMAGE, order, signs))
    image = nifti.read(tmp_path / "x.nii.gz")
    labels = predictor()(image).labels
    assert labels.shape == image.shape
    np.testing.assert_array_equal(to_ras(labels.array, labels.grid), straight)


def test_the_same_holds_for_thick_slices():
    straight = predictor()(stored(IMAGE, (0, 1, 2), (1, 1, 1), (1.0, 0.8, 4.0))).labels.array
    turned = predictor()(stored(IMAGE, (2, 0, 1), (-1, 1, -1), (1.0, 0.8, 4.0))).labels
    np.testing.assert_array_equal(to_ras(turned.array, turned.grid), straight)


def test_tta_averages_over_all_flips_of_the_mirrored_axes():
    plain, mirrored = predictor(), predictor(tta=True, mirror_axes=(0, 2))
    volume = Volume.of(IMAGE[:, :8, :10, :6])  # one window
    image = (volume.array - volume.array.mean()) / volume.array.std()
    total = 0
    for axes in ((), (0,), (2,), (0, 2)):
        there = tuple(1 + a for a in axes)
        total = total + np.flip(Toy()(np.flip(image, there)[None].astype(np.float32))[0], there)
    np.testing.assert_allclose(mirrored.logits(volume)[0], total / 4, atol=1e-4)
    assert mirrored.engine.calls == 4
    assert not np.allclose(plain.logits(volume)[0], total / 4, atol=0.1)


class Lending(Toy):
    """An engine that writes each answer to the same memory, as OpenVINO's does."""

    memory = np.empty((1, 3, 8, 10, 6), np.float32)

    def __call__(self, windows):
        self.memory[:] = super().__call__(windows)
        return self.memory


def test_what_an_engine_lends_is_not_kept():
    volume, how = Volume.of(IMAGE[:, :8, :10, :6]), {"tta": True, "mirror_axes": (0, 2)}
    lent = replace(predictor(**how), engine=Lending())
    np.testing.assert_array_equal(lent.logits(volume)[0], predictor(**how).logits(volume)[0])


def test_a_volume_that_resampling_would_blow_up_is_refused_unless_it_stays_small():
    def of(*shape):
        return Volume.of(np.zeros(shape, np.int16), np.diag([10.0, 10.0, 10.0, 1.0]))

    with pytest.raises(ValueError, match=r"voxels of 10 x 10 x 10 mm, .* so that one would become 1000; mend"):
        predictor()(of(12, 14, 10))
    assert predictor()(of(2, 3, 2)).labels.shape == (2, 3, 2)


def test_tta_mirrors_nothing_where_training_did_not():
    volume = Volume.of(IMAGE)
    np.testing.assert_array_equal(predictor(tta=True).logits(volume)[0], predictor().logits(volume)[0])


def test_probabilities_are_given_only_when_asked_and_agree_with_the_labels():
    assert predictor()(Volume.of(IMAGE)).probabilities is None
    found = predictor()(Volume.of(IMAGE), probabilities=True)
    shares = found.probabilities.array
    full = np.concatenate([1 - shares.sum(axis=0, keepdims=True), shares])
    assert (full.argmax(axis=0) == found.labels.array[0]).mean() > 0.999


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_image_with_holes_or_other_channels_is_refused(bad):
    image = IMAGE.astype(np.float32)
    image[0, 3, 3, 3] = bad
    with pytest.raises(ValueError, match="NaN or infinite"):
        predictor()(Volume.of(image))
    with pytest.raises(ValueError, match="has 2 channels"):
        predictor()(Volume.of(np.concatenate([IMAGE, IMAGE])))


def test_a_predictor_is_a_value():
    assert replace(predictor(), step=0.25).step == 0.25
