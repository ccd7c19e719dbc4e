"""A file of another model is refused with what was expected and what was found."""

from __future__ import annotations

import copy
import json
import random

import numpy as np
import pytest

from decaseg.importing.graph import check_wiring
from decaseg.importing.intel_unet import NAMED, NUMBERED, layers_of, network_of, recognise
from decaseg.storage.keras_file import KerasFile


def arrays(network, naming=NAMED):
    """Layers of the right shapes, as the file would hold them."""
    made = {}
    for number, layer in enumerate(layers_of(network, naming)):
        name = layer.name or f"batch_normalization_{number}"
        made[name] = {weight: np.ones(shape, np.float32) for weight, shape in layer.shapes.items()}
    return made


NETWORK = network_of(2, 1, 1, "transposed")


def refusal(layers):
    with pytest.raises(ValueError) as error:
        recognise(KerasFile(layers, None, None, ""))
    return str(error.value)


@pytest.mark.parametrize("naming", [NAMED, NUMBERED])
@pytest.mark.parametrize("upsample", ["transposed", "nearest"])
@pytest.mark.parametrize(("filters", "inputs", "outputs"), [(2, 1, 1), (16, 4, 1), (4, 2, 4)])
def test_the_network_follows_from_names_and_shapes(naming, upsample, filters, inputs, outputs):
    found = recognise(KerasFile(arrays(network_of(filters, inputs, outputs, upsample), naming), None, None, ""))
    assert found.network == network_of(filters, inputs, outputs - (outputs > 1), upsample)
    assert found.naming == naming and found.background == (outputs > 1)


def test_missing_and_extra_layers_are_listed():
    layers = arrays(NETWORK)
    for name in [name for name in layers if name.startswith("decodeB")]:
        del layers[name]
    layers["dense_1"] = {"kernel": np.ones((10, 3), np.float32)}
    said = refusal(layers)
    assert "missing layers: decodeB_conv0, decodeB_bn0, decodeB_conv1, decodeB_bn1;" in said
    assert "layers it does not have: dense_1 (10 x 3)" in said


def test_a_long_list_is_cut():
    layers = {name: layer for name, layer in arrays(NETWORK).items() if name[:6] in ("encode", "Predic")}
    assert "decodeC_conv1, decodeC_bn1, transconv" not in (said := refusal(layers))
    assert said.count(",") < 12 and "and 10 more" in said


def test_other_shapes_are_listed_beside_the_right_ones():
    layers = arrays(NETWORK)
    layers["decodeA_conv0"]["kernel"] = np.ones((3, 3, 3, 5, 4), np.float32)
    del layers["encodeC_conv1"]["bias"]
    said = refusal(layers)
    assert "decodeA_conv0/kernel is 3 x 3 x 3 x 5 x 4, expected 3 x 3 x 3 x 8 x 4" in said
    assert "encodeC_conv1/bias is missing, expected 8" in said


def test_another_program_s_model_is_told_from_intel_s():
    said = refusal({"conv2d": {"kernel": np.ones((3, 3, 1, 8), np.float32)}, "dense": {"bias": np.ones(3, np.float32)}})
    assert "expected layers encodeA_conv0" in said and "found conv2d (3 x 3 x 1 x 8), dense" in said
    assert "found none" in refusal({})


def test_intel_s_two_dimensional_model_is_named():
    layers = {"encodeAa": {"kernel": np.ones((3, 3, 1, 32), np.float32)}}
    assert "it is the 2D model" in refusal(layers | {"PredictionMask": {"kernel": np.ones((1, 1, 32, 1), np.float32)}})


def test_the_models_of_2018_that_our_network_cannot_be_are_named():
    layers = arrays(NETWORK, NUMBERED)
    names = list(layers)
    del layers[names[names.index("encodeBb") + 1]]
    assert "encodeBb has no batch norm" in refusal(layers)
    first = {name: {"kernel": np.ones((3, 3, 3, 1, 32), np.float32)} for name in ("conv1a", "conv7b")}
    assert "early 2018" in refusal(first)


@pytest.mark.parametrize(("weight", "value", "words"), [
    ("gamma", np.nan, "encodeB_bn0/gamma holds values that are not finite"),
    ("moving_mean", np.inf, "encodeB_bn0/moving_mean holds values that are not finite"),
    ("moving_variance", -1, "encodeB_bn0/moving_variance holds a variance below 0"),
])  # fmt: skip
def test_values_that_no_training_leaves_are_refused(weight, value, words):
    layers = arrays(NETWORK)
    layers["encodeB_bn0"][weight][1] = value
    assert words in refusal(layers)


# What Keras' description of a model may say that names and shapes do not.

CHANGES = {
    "another activation": (("encodeB_relu0", "activation", "elu"), "encodeB_relu0 has activation elu, expected relu"),
    "softmax": (("PredictionMask", "activation", "softmax"), "PredictionMask ends with softmax, expected sigmoid"),
    "ReLU inside": (("decodeA_conv0", "activation", "relu"), "decodeA_conv0 ends with relu, expected linear"),
    "epsilon": (("encodeA_bn1", "epsilon", 1e-5), "encodeA_bn1 has epsilon 1e-05, expected 0.001"),
    "padding": (("convOut_conv0", "padding", "valid"), "convOut_conv0 has the padding valid, expected same"),
    "dilation": (("encodeE_conv0", "dilation_rate", [2, 2, 2]), "encodeE_conv0 has dilation_rate [2, 2, 2]"),
    "channels first": (("encodeA_conv0", "data_format", "channels_first"), "has data_format channels_first"),
    "norm of an axis": (("encodeD_bn0", "axis", 1), "encodeD_bn0 has axis 1, expected -1"),
    "pools of 3": (("poolC", "pool_size", [3, 3, 3]), "poolC has pool_size [3, 3, 3]"),
    "joined along x": (("concatB", "axis", 1), "concatB has axis 1, expected -1"),
}


@pytest.fixture(scope="module")
def described():
    from tests.importing.intel_in_keras import intel_unet, keras_2_config

    model = intel_unet(2)
    return model, keras_2_config(model)


def wired(config):
    return check_wiring(config, recognise(KerasFile(arrays(NETWORK), None, None, "")))


def changed(config, layer, key, value):
    config = copy.deepcopy(config)
    (one,) = [one for one in config["config"]["layers"] if one["name"] == layer]
    if key == "takes":
        one["inbound_nodes"] = [[[name, 0, 0, {}] for name in value]]
    else:
        one["config"][key] = value
    return config


def test_both_descriptions_of_the_right_model_pass(described):
    model, config = described
    assert wired(config) is None and wired(json.loads(model.to_json())) is None
    assert wired(changed(config, "MRImages", "batch_input_shape", [None, 144, 128, 96, 1])) == (144, 128, 96)


@pytest.mark.parametrize("name", CHANGES)
def test_a_model_set_otherwise_is_refused(name, described):
    change, words = CHANGES[name]
    with pytest.raises(ValueError, match=words.replace("[", r"\[").replace("]", r"\]")):
        wired(changed(described[1], *change))


@pytest.mark.parametrize(("layer", "takes", "words"), [
    ("concatD", ["encodeD", "transconvE"], "concatD takes encodeD first, expected transconvE"),
    ("decodeA_conv0", ["encodeB"], "expected two layers side by side"),
    ("encodeB_conv0", ["encodeA"], "encodeB_conv0 takes encodeA"),
    ("concatA", ["transconvA", "encodeA_relu0"], "concatA takes its values from encodeA_conv0, expected encodeA_conv1"),
    ("encodeC_bn1", ["encodeC_conv0"], "from encodeC_conv0, expected encodeC_conv1"),
    ("PredictionMask", ["decodeA"], "PredictionMask takes its values from decodeA_conv1, expected convOut_conv1"),
    ("encodeA_conv0", ["gone"], "lacks the layer gone"),
])  # fmt: skip
def test_a_model_wired_otherwise_is_refused(layer, takes, words, described):
    with pytest.raises(ValueError, match=words):
        wired(changed(described[1], layer, "takes", takes))


def test_a_ring_of_layers_ends(described):
    config = changed(described[1], "encodeC_bn0", "takes", ["encodeC_relu0"])
    with pytest.raises(ValueError, match="expected"):
        wired(config)


JUNK = (None, [], {}, "x", -1, [[["x"]]], {"keras_history": []}, {"class_name": 3}, 10**30, [None] * 5, [{"config": 1}])


@pytest.mark.parametrize("form", ["keras 2", "keras 3"])
def test_a_description_full_of_junk_passes_or_is_refused(form, described):
    """Whatever stands anywhere in it, nothing else than a ValueError of one line comes of it."""
    config = described[1] if form == "keras 2" else json.loads(described[0].to_json())
    found, dice, refusals = recognise(KerasFile(arrays(NETWORK), None, None, "")), random.Random(form), 0
    for _ in range(400):
        changed = copy.deepcopy(config)
        for _ in range(dice.choice((1, 1, 5))):
            place = changed
            while isinstance(place, dict | list) and place:
                key = dice.choice(list(place) if isinstance(place, dict) else range(len(place)))
                if dice.random() < 0.2 or not (isinstance(place[key], dict | list) and place[key]):
                    place[key] = copy.deepcopy(dice.choice(JUNK))
                    break
                place = place[key]
        try:
            check_wiring(changed, found)
        except ValueError as error:
            refusals += 1
            assert "\n" not in str(error)
    assert 20 < refusals < 400


def test_a_description_nested_without_end_is_refused(described):
    deep = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(ValueError, match="does not describe a model"):
        config = copy.deepcopy(described[1])
        config["config"]["layers"][3]["inbound_nodes"] = deep
        wired(config)
