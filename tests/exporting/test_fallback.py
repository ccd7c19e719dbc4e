"""Layers taken back to floating point compute what they computed before quantisation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from decaseg.exporting.fallback import groups_of, layers_of, quantised_layers, revert
from decaseg.exporting.int8 import quantised as quantise_by_nncf
from decaseg.exporting.openvino_ir import write_openvino
from decaseg.nets.merged import merged
from decaseg.nets.spec import NetworkSpec
from decaseg.nets.unet import build

openvino = pytest.importorskip("openvino")
pytest.importorskip("nncf")

BATCH = NetworkSpec(2, 2, (4, 8, 8), ((1, 1, 1), (2, 2, 2), (2, 2, 2)), ((3, 3, 3),) * 3, norm="batch",
                    nonlinearity="relu", downsample="maxpool")  # fmt: skip
INSTANCE = replace(BATCH, norm="instance", nonlinearity="leaky_relu", downsample="stride")
NETWORKS = {
    "batch": BATCH,
    "instance": INSTANCE,
    "residual": replace(INSTANCE, residual=True, blocks=(1, 2)),
    "residual batch": replace(BATCH, residual=True, blocks=(1, 2), downsample="stride"),
    "members": replace(INSTANCE, members=2),
}


MERGED = ", merged"  # as `decaseg export` quantises them


@pytest.fixture(scope="module", params=[*NETWORKS, "batch" + MERGED, "instance" + MERGED, "residual batch" + MERGED])
def quantised(request, tmp_path_factory):
    """The float model, NNCF's model of it, and an input; weights are drawn, norms and biases moved from their start."""
    torch.manual_seed(0)
    network = build(NETWORKS[request.param.removesuffix(MERGED)])
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d) and module.bias is not None:
            module.bias.data.normal_(0, 0.3)
    if request.param.endswith(MERGED):
        network = merged(network)
    folder = tmp_path_factory.mktemp("ir")
    write_openvino(network, 2, (16, 16, 16), folder, "fp32")
    original = openvino.Core().read_model(str(folder / "model.xml"))
    rng = np.random.default_rng(0)
    windows = [rng.normal(size=(1, 2, 16, 16, 16)).astype(np.float32) for _ in range(3)]
    model = quantise_by_nncf(original, windows)
    return original, model, windows[0]


def run(model, window):
    return openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([window])[0]


def test_all_groups_back_make_the_float_model(quantised):
    original, model, window = quantised
    groups, trial, before = groups_of(model), model.clone(), run(original, window)
    layers = [name for group in groups for name in group.layers]
    assert sorted(layers) == sorted(quantised_layers(model)) == sorted(layers_of(original))
    assert np.abs(run(model, window) - before).max() > 1e-3, "else this test shows nothing"
    for group in groups:
        revert(trial, original, group)
    assert quantised_layers(trial) == ()
    assert not [op for op in trial.get_ops() if op.get_type_name() == "FakeQuantize"]
    np.testing.assert_allclose(run(trial, window), before, atol=1e-4)


def test_one_group_back_leaves_the_others_in_int8(quantised):
    original, model, window = quantised
    group = groups_of(model)[0]
    trial = model.clone()
    revert(trial, original, group)
    assert set(quantised_layers(trial)) == set(quantised_layers(model)) - set(group.layers)
    assert np.isfinite(run(trial, window)).all()
    assert set(quantised_layers(model)) == set(layers_of(model)), "the model it was cloned from is as it was"


def test_a_skip_falls_back_with_both_layers_that_read_it(quantised):
    _, model, _ = quantised
    assert max(len(group.layers) for group in groups_of(model)) == 2


def test_merged_ways_up_are_int8_without_a_concatenation(quantised, request):
    original, model, _ = quantised
    concatenates = any(op.get_type_name() == "Concat" for op in model.get_ops())
    assert concatenates == (MERGED not in request.node.name)
    assert len(quantised_layers(model)) == len(layers_of(original))
