"""Intel's 3D U-Net in Keras itself, from the facts in `decaseg.importing`, and files as TensorFlow saved it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
h5py = pytest.importorskip("h5py")
keras = pytest.importorskip("keras")
L = keras.layers
UP = ("decodeC", "decodeB", "decodeA", "convOut")


def intel_unet(filters=2, inputs=1, outputs=1, upsample="transposed", shape=(None, None, None), old=False, seed=0):
    """With random weights and norms that have seen something; `old` has the names and dropout of before 2019."""
    rng = np.random.default_rng(seed)
    x = image = L.Input((*shape, inputs), name="MRImages")
    skips = []
    for level, letter in enumerate("ABCDE"):
        x = _block(x, f"encode{letter}", filters * 2**level, old, dropout=old and letter in "CD")
        skips.append(x)
        if letter != "E":
            x = L.MaxPooling3D(2, name=f"pool{letter}")(x)
    for level, letter, name, join in zip((3, 2, 1, 0), "ECBA", UP, "DCBA", strict=True):
        if upsample == "nearest":
            raised = L.UpSampling3D(2, name=f"up{letter}")(x)
        else:
            width = filters * 2**level
            raised = L.Conv3DTranspose(width, 2, strides=2, padding="same", name=f"transconv{letter}")(x)
        x = L.Concatenate(axis=-1, name=f"concat{join}")([raised, skips[level]])
        x = _block(x, name, filters * 2**level, old)
    mask = L.Conv3D(outputs, 1, activation="sigmoid", name="PredictionMask")(x)
    model = keras.Model(image, mask, name="intel")
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            n = int(layer.gamma.shape[0])
            gamma, variance = rng.uniform(0.5, 1.5, n), rng.uniform(0.5, 2, n)
            layer.set_weights([gamma, rng.normal(0, 0.2, n), rng.normal(0, 0.3, n), variance])
        elif layer.weights:
            kernel, bias = layer.get_weights()
            fan = np.prod(kernel.shape[:-1])
            layer.set_weights([rng.normal(0, np.sqrt(2 / fan), kernel.shape), rng.normal(0, 0.1, bias.shape)])
    return model


def _block(x, name, filters, old, dropout=False):
    for turn, letter in enumerate("ab"):
        conv = f"{name}{letter}" if old else f"{name}_conv{turn}"
        x = L.Conv3D(filters, 3, padding="same", name=conv)(x)
        x = L.BatchNormalization(name=None if old else f"{name}_bn{turn}")(x)
        ending = f"{conv}_activation" if old else name if turn else f"{name}_relu0"
        x = L.Activation("relu", name=ending)(x)
        if dropout and turn == 0:
            x = L.SpatialDropout3D(0.2)(x)
    return x


def predicted(model, image):
    """What Keras gives for (C, X, Y, Z), as (K, X, Y, Z)."""
    return np.moveaxis(model.predict(np.moveaxis(image, 0, -1)[None], verbose=0)[0], -1, 0)


def save_as_tensorflow(model, path: Path, version="2.4.0", weights_only=False, optimiser=True):
    """As tf.keras (and Keras 2) wrote HDF5: fixed-length bytes, `kernel:0`, inbound nodes as lists of lists.

    Layout after TensorFlow 2.4's python/keras/saving/hdf5_format.py.
    """
    with h5py.File(path, "w") as file:
        group = file if weights_only else file.create_group("model_weights")
        group.attrs["layer_names"] = np.array([layer.name.encode() for layer in model.layers])
        group.attrs["backend"], group.attrs["keras_version"] = b"tensorflow", version.encode()
        for layer in model.layers:
            one = group.create_group(layer.name)
            names = [f"{layer.name}/{weight.name}:0".encode() for weight in layer.weights]
            one.attrs["weight_names"] = np.array(names) if names else np.array([], "S1")
            for name, value in zip(names, layer.get_weights(), strict=True):
                one.create_dataset(name.decode(), data=value)
        if weights_only:
            return
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", version.encode()
        file.attrs["model_config"] = json.dumps(keras_2_config(model)).encode()
        file.attrs["training_config"] = json.dumps({"loss": "dice_loss"}).encode()
        if optimiser:
            file.create_group("optimizer_weights").create_dataset("training/Adam/iter:0", data=np.int64(7))


def keras_2_config(model):
    """`model_config` as Keras 2 describes a model."""
    layers = []
    for layer in json.loads(model.to_json())["config"]["layers"]:
        settings = dict(layer["config"], dtype="float32")
        if "batch_shape" in settings:
            settings["batch_input_shape"] = settings.pop("batch_shape")
        tensors = [t for node in layer["inbound_nodes"] for t in _tensors(node["args"])]
        nodes = [[[name, 0, 0, {}] for name in tensors]] if tensors else []
        layers.append(
            {"class_name": layer["class_name"], "config": settings, "name": layer["name"], "inbound_nodes": nodes}
        )
    return {"class_name": "Model", "config": {"name": "model_1", "layers": layers}}


def _tensors(part):
    if isinstance(part, dict):
        return [part["config"]["keras_history"][0]]
    return [name for one in part for name in _tensors(one)]
