"""Every kind of network in every format and precision computes what torch computes, in the real runtimes."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from decaseg.exporting.onnx_model import halved, write_onnx
from decaseg.exporting.openvino_ir import write_openvino
from decaseg.inference.engines.onnx_engine import OnnxEngine
from decaseg.inference.engines.openvino_engine import OpenVinoEngine
from decaseg.nets.spec import NetworkSpec
from decaseg.nets.unet import build

WINDOW = (16, 12, 8)
PLAIN = NetworkSpec(1, 3, (8, 16), ((1, 1, 1), (2, 2, 2)), ((3, 3, 3),) * 2)
# `out_channels` of regions are as many as structures, of softmax one more: for the network itself only a number.
NETWORKS = {
    "plain, instance norm, softmax of 3": PLAIN,
    "original: batch norm, max-pooling, one region": replace(
        PLAIN, norm="batch", nonlinearity="relu", downsample="maxpool", out_channels=1
    ),
    "residual, 4 channels, 3 regions": replace(PLAIN, residual=True, blocks=(1, 2), in_channels=4),
    "residual, batch norm, thin kernels": replace(
        PLAIN, residual=True, blocks=(1,), norm="batch", kernels=((3, 3, 1), (3, 3, 3)), strides=((1, 1, 1), (2, 2, 1))
    ),
    "2 members, 2 channels, deep supervision": replace(
        PLAIN, members=2, in_channels=2, filters=(8, 16, 16), strides=((1, 1, 1), *((2, 2, 2),) * 2),
        kernels=((3, 3, 3),) * 3, deep_supervision=1,
    ),
}  # fmt: skip
# How far logits may be from torch's in fp32, as a share of their standard deviation (root mean square): the rounding of
# fp32 sums, of weights to 11 bits, of all values to 8 bits, through some ten layers. Found: 1e-6, 1e-3, 1e-2.
CLOSE = {"fp32": 1e-5, "fp16": 3e-3, "bf16": 3e-2}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request, tmp_path_factory):
    """A network with settled norms, its window, torch's logits of two windows, and a folder."""
    torch.manual_seed(0)
    spec = NETWORKS[request.param]
    model = build(spec)
    for module in model.modules():  # batch norm's statistics, and weights that are not 1 and 0
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
        if isinstance(module, torch.nn.BatchNorm3d | torch.nn.InstanceNorm3d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.2)
    model.eval()
    windows = np.random.default_rng(0).normal(size=(2, spec.in_channels, *WINDOW)).astype(np.float32)
    with torch.no_grad():
        logits = model(torch.from_numpy(windows)).numpy()
    assert logits.shape == (2, spec.out_channels, *WINDOW) and logits.std() > 0.05
    return model, spec, windows, logits, tmp_path_factory.mktemp("formats")


def check(engine, network, precision):
    _, _, windows, logits, _ = network
    found = engine(windows).copy()  # lent until the next call
    assert found.dtype == np.float32 and found.shape == logits.shape
    off = float((found - logits).std() / logits.std())
    assert off <= CLOSE[precision]
    if engine.precision == "bf16":
        assert off > CLOSE["fp32"]  # it really computed in less
    assert float((engine(windows[:1]) - found[:1]).std() / logits.std()) <= CLOSE[precision]  # a batch of another size


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_openvino(network, precision):
    model, spec, *_, folder = network
    write_openvino(model, spec.in_channels, WINDOW, folder / precision, precision)
    engine = OpenVinoEngine(folder / precision / "model.xml", "bf16" if precision == "bf16" else "fp32", threads=1)
    assert engine.precision in (("bf16", "fp32") if precision == "bf16" else ("fp32",))
    check(engine, network, precision)


@pytest.fixture(scope="module")
def onnx_file(network):
    model, spec, *_, folder = network
    write_onnx(model, spec.in_channels, WINDOW, folder / "model.onnx", "fp32")
    return folder / "model.onnx"


def test_onnx(network, onnx_file):
    check(OnnxEngine(onnx_file, threads=1), network, "fp32")


def test_onnx_with_half_weights(network, onnx_file):
    half = onnx_file.with_name("half.onnx")
    onnx.save(halved(onnx.load(onnx_file)), half)  # what write_onnx does for fp16, without converting once more
    onnx.checker.check_model(half, full_check=True)
    assert half.stat().st_size < 0.8 * onnx_file.stat().st_size
    graph = onnx.load(half).graph
    ends = {value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)}
    assert ends == {onnx.TensorProto.FLOAT}
    check(OnnxEngine(half, threads=1), network, "fp16")


def test_weights_beyond_half_range_stay_whole(tmp_path):
    torch.manual_seed(0)
    model = build(PLAIN).eval()
    with torch.no_grad():
        model.encoder[0].layers[0].weight[0, 0, 0, 0, 0] = 1e6
    windows = np.random.default_rng(0).normal(size=(1, 1, *WINDOW)).astype(np.float32)
    with torch.no_grad():
        wanted = model(torch.from_numpy(windows)).numpy()
    write_onnx(model, 1, WINDOW, tmp_path / "model.onnx", "fp16")
    write_openvino(model, 1, WINDOW, tmp_path, "fp16")
    for engine in (OnnxEngine(tmp_path / "model.onnx", 1), OpenVinoEngine(tmp_path / "model.xml", "fp32", 1)):
        np.testing.assert_allclose(engine(windows), wanted, atol=0.02 * wanted.std())
