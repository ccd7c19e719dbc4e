"""Several networks as one, and what their predictions say about themselves."""

from dataclasses import replace

import numpy as np
import pytest

from decaseg.data.normalise import Normalisation
from decaseg.data.preprocess import Preprocessing
from decaseg.data.targets import make_target
from decaseg.inference.predictor import Predictor
from decaseg.inference.restore import uncertainty
from decaseg.volume import Volume

IMAGE = Volume.of(np.random.default_rng(0).normal(size=(1, 14, 12, 23)).astype(np.float32))
TARGETS = {
    "softmax": make_target("all", {1: "a", 2: "b"}),
    "regions": make_target("brats", {1: "edema", 2: "non-enhancing tumor", 3: "enhancing tumor"}),
}


class Drawn:
    """Three logits a voxel, another mixture of intensity and place for every seed."""

    name, precision = "drawn", "fp32"

    def __init__(self, seed):
        self.slope, self.ramp = np.random.default_rng(seed).normal(size=(2, 3)).astype(np.float32)
        self.calls = 0

    def __call__(self, windows):
        self.calls += 1
        ramp = np.linspace(-2, 2, windows.shape[-1], dtype=np.float32)
        return np.stack([windows[:, 0] * s + r * ramp for s, r in zip(self.slope, self.ramp, strict=True)], axis=1)


def predictor(kind, *seeds):
    how = Preprocessing(("A",), (0,), 1, (1.0, 1.0, 1.2), (Normalisation("zscore"),))
    first, *others = [Drawn(seed) for seed in seeds]
    return Predictor(first, how, TARGETS[kind], (8, 8, 8), others=tuple(others))


def shares(found, kind):
    array = found.probabilities.array
    return array if kind == "regions" else np.concatenate([1 - array.sum(axis=0, keepdims=True), array])


@pytest.mark.parametrize("kind", TARGETS)
def test_an_ensemble_averages_probabilities(kind):
    how = replace(predictor(kind, 0).preprocessing, spacing_mm=(1.0, 1.0, 1.0))  # no resampling: voxel by voxel
    single = [replace(predictor(kind, seed), preprocessing=how)(IMAGE, probabilities=True) for seed in (0, 1, 2)]
    found = replace(predictor(kind, 0, 1, 2), preprocessing=how)(IMAGE, probabilities=True)
    mean = np.mean([shares(one, kind) for one in single], axis=0)
    np.testing.assert_allclose(shares(found, kind), mean, atol=1e-5)
    if kind == "softmax":
        agree = found.labels.array[0] == mean.argmax(axis=0)
        assert agree.mean() > 0.999 and (found.labels.array != single[0].labels.array).mean() > 0.1


@pytest.mark.parametrize("kind", TARGETS)
def test_an_ensemble_of_the_same_is_that_one(kind):
    one, three = predictor(kind, 5)(IMAGE, True, None, True), predictor(kind, 5, 5, 5)(IMAGE, True, None, True)
    assert (one.labels.array == three.labels.array).mean() > 0.999
    np.testing.assert_allclose(one.probabilities.array, three.probabilities.array, atol=1e-3)


def test_uncertainty_is_0_where_certain_and_1_where_all_are_alike():
    softmax, regions = TARGETS["softmax"], TARGETS["regions"]
    for target, certain, alike in ((softmax, [0, 1, 0], [1 / 3] * 3), (regions, [0, 1, 1], [0, 0.5, 1])):
        columns = np.array([certain, alike], np.float32).T.reshape(3, 2, 1, 1)
        np.testing.assert_allclose(uncertainty(columns, target).ravel(), [0, 1], atol=1e-6)


@pytest.mark.parametrize("kind", TARGETS)
def test_uncertainty_comes_only_when_asked_for_and_lies_between_0_and_1(kind):
    assert predictor(kind, 0)(IMAGE).uncertainty is None
    found = predictor(kind, 0)(IMAGE, uncertainty=True)
    values = found.uncertainty.array
    assert found.probabilities is None and values.shape == (1, *IMAGE.shape) and values.dtype == np.float32
    assert 0 <= values.min() < values.max() <= 1


def test_an_image_that_holds_nothing_is_background_without_a_network():
    for kind in TARGETS:
        one = predictor(kind, 0)
        found = one(Volume.of(np.zeros((1, 9, 9, 9), np.int16)), True, None, True)
        assert not found.labels.array.any() and found.probabilities.array.max() < 1e-6
        assert found.uncertainty.array.max() < 1e-5 and one.engine.calls == 0


@pytest.mark.parametrize("batch_size", [2, 5])
def test_batches_of_windows_change_nothing(batch_size):
    one = predictor("softmax", 0)
    found = replace(one, batch_size=batch_size).logits(IMAGE)[0]
    np.testing.assert_allclose(found, one.logits(IMAGE)[0], atol=1e-6)


def test_the_clock_knows_the_stages():
    seconds = predictor("softmax", 0)(IMAGE).seconds
    assert min(seconds.prepare, seconds.network, seconds.restore) > 0
