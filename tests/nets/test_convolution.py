"""Our convolution takes other ways than torch's where those are faster or wrong, to the same results."""

import pytest
import torch
from torch import nn

from decaseg.nets.convolution import Conv3d, gradients

LAST = torch.channels_last_3d


def test_same_state_as_torchs():
    torch.nn.Conv3d(4, 5, 3).load_state_dict(Conv3d(4, 5, 3).state_dict())


@pytest.mark.parametrize("shape", [(2, 2, 2), (2, 6, 5), (6, 1, 4), (5, 4, 2)])
def test_thin_maps_are_trained_in_float32_where_bf16_is_asked_for(shape):
    """oneDNN's bf16 weight gradient of such maps is not to be had without NaN."""
    torch.manual_seed(0)
    convolution = Conv3d(8, 8, 3, padding=1).to(memory_format=torch.channels_last_3d)
    image = torch.randn(3, 8, *shape).contiguous(memory_format=torch.channels_last_3d)
    gradients = []
    for bf16 in (True, False):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            out = convolution(image)
        assert out.dtype == torch.float32
        gradients.append(torch.autograd.grad(out.square().sum(), convolution.weight)[0])
    assert torch.equal(*gradients)


@pytest.mark.parametrize("shape", [(2, 2, 2), (2, 6, 5), (6, 1, 4), (5, 4, 2)])
def test_gradients_of_thin_maps_that_come_in_bf16_are_taken_in_float32(shape):
    torch.manual_seed(0)
    layer = Conv3d(8, 8, 3, padding=1).to(memory_format=LAST)
    image = torch.randn(3, 8, *shape).bfloat16().to(memory_format=LAST)
    way = torch.randn(3, 8, *shape).bfloat16().to(memory_format=LAST)
    by_image, *by_parameters = gradients(layer, image, way)
    exact, *parameters = gradients(layer, image.float(), way.float())
    assert torch.equal(by_image, exact.bfloat16())
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(by_parameters, parameters, strict=True))


def test_other_maps_are_trained_in_bf16():
    with torch.autocast("cpu", torch.bfloat16):
        assert Conv3d(8, 8, 3, padding=1)(torch.randn(1, 8, 3, 3, 3)).dtype == torch.bfloat16


KINDS = [
    pytest.param((1, 16, 10, 12, 9), 24, {"padding": 1}, id="one small sample"),
    pytest.param((1, 16, 10, 12, 9), 24, {"padding": 1, "stride": 2}, id="strided"),
    pytest.param((1, 16, 10, 12, 9), 4, {"kernel_size": 1}, id="head"),
    pytest.param((1, 16, 10, 12, 9), 8, {"padding": (0, 1, 1), "kernel_size": (1, 3, 3)}, id="flat kernel"),
    pytest.param((1, 16, 6, 7, 8), 8, {"padding": 1, "bias": False}, id="no bias"),
    pytest.param((2, 16, 10, 12, 9), 24, {"padding": 1}, id="two samples"),
    pytest.param((1, 32, 40, 20, 6), 32, {"padding": 1}, id="by Winograd"),
]


@pytest.mark.parametrize(("shape", "outputs", "how"), KINDS)
def test_values_and_gradients_are_those_of_torch_in_double(shape, outputs, how):
    torch.manual_seed(0)
    layer = Conv3d(shape[1], outputs, **{"kernel_size": 3, **how}).to(memory_format=LAST)
    image = torch.randn(shape).to(memory_format=LAST).requires_grad_()
    double = nn.Conv3d(shape[1], outputs, **{"kernel_size": 3, **how}).double()
    double.load_state_dict(layer.state_dict())
    ours, theirs = layer(image), double(image.double())
    way = torch.randn(theirs.shape)
    wanted = [image, *layer.parameters()]
    expected = torch.autograd.grad(theirs, [image, *double.parameters()], way.double())
    by_layer = gradients(layer, image, way.to(memory_format=LAST))
    _close(ours, theirs)
    for mine, alone, reference in zip(torch.autograd.grad(ours, wanted, way), by_layer, expected, strict=False):
        _close(mine, reference)
        _close(alone, reference)
    assert gradients(layer, image, way, by_input=False)[0] is None


def _close(ours, theirs):
    assert (ours.double() - theirs).abs().max() <= 3e-5 * theirs.abs().max()


def test_what_does_not_train_gets_no_gradient():
    layer = Conv3d(8, 8, 3, padding=1).to(memory_format=LAST)
    layer.weight.requires_grad_(False)
    image = torch.randn(1, 8, 6, 6, 6).to(memory_format=LAST).requires_grad_()
    layer(image).sum().backward()
    assert layer.weight.grad is None and layer.bias.grad is not None and image.grad is not None


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="oneDNN's own ways")
def test_one_small_sample_is_not_left_to_the_slow_kernel():
    # What it gains is measured in benchmarks/step-speed/single_operations.py: a time here would be the neighbours' too.
    layer = nn.Conv3d(64, 64, 3, padding=1).to(memory_format=LAST)
    theirs = _operations(layer)
    assert any("slow_conv3d" in name for name in theirs) and not any("mkldnn_convolution" in name for name in theirs)
    ours = _operations(Conv3d(64, 64, 3, padding=1).to(memory_format=LAST))
    assert any("mkldnn_convolution" in name for name in ours) and not any("slow_conv3d" in name for name in ours)


def _operations(layer):
    image = torch.randn(1, 64, 14, 14, 14).to(memory_format=LAST).requires_grad_()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        layer(image).sum().backward()
    return {event.key for event in profile.key_averages()}
