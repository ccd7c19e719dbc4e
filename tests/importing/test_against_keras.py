"""Imported networks against Keras itself, and against arithmetic that knows neither Keras nor torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from decaseg.cli import call
from decaseg.inference.engines.torch_engine import load_network
from decaseg.planning.plan import Plan
from decaseg.storage.files import read_json
from tests.importing.intel_in_keras import intel_unet, predicted, save_as_tensorflow


def ours(run, image):
    """Sigmoids (K, X, Y, Z) of the RUN's network for (C, X, Y, Z) in RAS order, and its plan."""
    plan = Plan.from_json(read_json(run / "plan.json"))
    network = load_network(run / "weights.safetensors", plan.network).eval()
    with torch.inference_mode():
        logits = network(torch.from_numpy(np.ascontiguousarray(image, np.float32))[None])
    return torch.sigmoid(logits)[0].numpy(), plan


def ras(array, quarter_turn=False):
    """What BraTS' files hold (left, posterior, superior), as Keras saw it, in RAS order."""
    array = np.rot90(array, -1, axes=(1, 2)) if quarter_turn else array
    return array[:, ::-1, ::-1]


def brainlike(channels, shape, seed=0):
    """A z-scored image with zeros around a body, as Intel's loader fed them."""
    rng = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    body = (x**2 + (0.8 * y) ** 2 + z**2) < 0.7
    image = np.stack(
        [body * (300 + 60 * c + 40 * np.sin(4 * x + c) + rng.normal(0, 20, shape)) for c in range(channels)]
    )
    return ((image - image.mean((1, 2, 3), keepdims=True)) / image.std((1, 2, 3), keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("filters", [16, 32])
@pytest.mark.parametrize("upsample", ["transposed", "nearest"])
@pytest.mark.parametrize("channels", [1, 4])
def test_outputs_equal_keras(channels, upsample, filters, tmp_path):
    model = intel_unet(filters, channels, 1, upsample, seed=filters + channels)
    model.save(tmp_path / "model.hdf5")
    assert call(["import", "keras", f"{tmp_path}/model.hdf5", "--out", f"{tmp_path}/run"]) == 0
    rng = np.random.default_rng(3)
    noise = rng.normal(size=(channels, 16, 16, 32)).astype(np.float32)
    for image in (noise, 5 * noise, brainlike(channels, (16, 48, 32))):
        truth = predicted(model, image)
        found, plan = ours(tmp_path / "run", ras(image))
        assert truth.std() > 0.01  # else agreement would say nothing
        np.testing.assert_allclose(found, ras(truth), atol=1e-4, rtol=0)
    assert plan.network.upsample == upsample and plan.network.filters == tuple(filters * 2**i for i in range(5))


@pytest.mark.parametrize("outputs", [3, 4])
def test_each_label_s_output_equals_keras_without_the_background(outputs, tmp_path):
    model = intel_unet(2, 1, outputs)
    model.save(tmp_path / "model.hdf5")
    assert call(["import", "keras", f"{tmp_path}/model.hdf5", "--out", f"{tmp_path}/run"]) == 0
    image = brainlike(1, (16, 32, 16))
    found, plan = ours(tmp_path / "run", ras(image))
    np.testing.assert_allclose(found, ras(predicted(model, image))[1:], atol=1e-4, rtol=0)
    assert plan.target.names == ("edema", "non-enhancing tumor", "enhancing tumour")[: outputs - 1]


@pytest.mark.parametrize("old", [False, True], ids=["named norms", "numbered norms"])
@pytest.mark.parametrize("form", ["tf.keras", "tf.keras weights", "keras 3", "keras 3 weights"])
def test_every_way_keras_saved_them(form, old, tmp_path):
    model, path = intel_unet(2, 1, 1, old=old), tmp_path / "model.hdf5"
    if form.startswith("tf"):
        save_as_tensorflow(model, path, weights_only="weights" in form)
    elif "weights" in form:  # Keras 3 writes the old layout of weights only as a part of a whole model
        model.save(path)
        _drop_config(path)
    else:
        model.save(path)
    assert call(["import", "keras", str(path), "--out", f"{tmp_path}/run"]) == 0
    image = brainlike(1, (32, 16, 16))
    np.testing.assert_allclose(ours(tmp_path / "run", ras(image))[0], ras(predicted(model, image)), atol=1e-4, rtol=0)


def _drop_config(path):
    import h5py

    with h5py.File(path, "a") as file:
        del file.attrs["model_config"]


def test_a_model_of_2020_sees_turned_images(tmp_path):
    """Its input has one shape, from which the patch and the turn by numpy.rot90 follow."""
    model, path = intel_unet(2, 1, 1, shape=(32, 48, 16)), tmp_path / "model.hdf5"
    save_as_tensorflow(model, path)
    assert call(["import", "keras", str(path), "--out", f"{tmp_path}/run"]) == 0
    file = brainlike(1, (48, 32, 16))  # left, posterior, superior
    seen = np.ascontiguousarray(np.rot90(file, axes=(1, 2)))
    found, plan = ours(tmp_path / "run", ras(file))
    np.testing.assert_allclose(found, ras(predicted(model, seen), quarter_turn=True), atol=1e-4, rtol=0)
    assert plan.patch == (48, 32, 16) and plan.preprocessing.normalisation[0].centre == (48, 32, 16)


@pytest.mark.parametrize("upsample", ["transposed", "nearest"])
def test_outputs_equal_plain_arithmetic(upsample, tmp_path):
    model, path = intel_unet(2, 2, 1, upsample), tmp_path / "model.hdf5"
    save_as_tensorflow(model, path)
    assert call(["import", "keras", str(path), "--out", f"{tmp_path}/run"]) == 0
    image = brainlike(2, (16, 16, 32))
    weights = {layer.name: layer.get_weights() for layer in model.layers}
    truth = _forward(np.moveaxis(image, 0, -1).astype(np.float64), weights)
    np.testing.assert_allclose(ours(tmp_path / "run", ras(image))[0], ras(np.moveaxis(truth, -1, 0)), atol=1e-4, rtol=0)


def _forward(x, weights):
    """Intel's network as sums of shifted products, channels last, float64."""
    skips = {}
    for letter in "ABCDE":
        x = skips[letter] = _twice(x, f"encode{letter}", weights)
        if letter != "E":
            a, b, c, n = x.shape
            x = x.reshape(a // 2, 2, b // 2, 2, c // 2, 2, n).max((1, 3, 5))
    for letter, name, skip in zip("ECBA", ("decodeC", "decodeB", "decodeA", "convOut"), "DCBA", strict=True):
        if f"transconv{letter}" in weights:
            kernel, bias = weights[f"transconv{letter}"]
            raised = np.zeros((*(2 * n for n in x.shape[:3]), kernel.shape[3]))
            for i, j, k in np.ndindex(2, 2, 2):
                raised[i::2, j::2, k::2] = x @ kernel[i, j, k].T + bias
        else:
            raised = x.repeat(2, 0).repeat(2, 1).repeat(2, 2)
        x = _twice(np.concatenate([raised, skips[skip]], -1), name, weights)
    kernel, bias = weights["PredictionMask"]
    return 1 / (1 + np.exp(-(x @ kernel[0, 0, 0] + bias)))


def _twice(x, name, weights):
    for turn in (0, 1):
        kernel, bias = weights[f"{name}_conv{turn}"]
        gamma, beta, mean, variance = weights[f"{name}_bn{turn}"]
        padded, shape = np.pad(x, [(1, 1)] * 3 + [(0, 0)]), x.shape
        x = bias + sum(
            padded[i : i + shape[0], j : j + shape[1], k : k + shape[2]] @ kernel[i, j, k]
            for i, j, k in np.ndindex(3, 3, 3)
        )
        x = np.maximum(gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta, 0)
    return x
