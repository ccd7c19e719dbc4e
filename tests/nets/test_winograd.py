"""The short way of convolving against torch's own, values and gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from decaseg.nets.convolution import Conv3d
from decaseg.nets.winograd import convolve


def _double(*shape):
    return torch.randn(*shape, dtype=torch.float64).contiguous(memory_format=torch.channels_last_3d).requires_grad_()


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    shape=st.tuples(st.integers(1, 11), st.integers(1, 5), st.integers(1, 5)),
    with_bias=st.booleans(),
)
def test_equals_torch_in_double_precision_whatever_the_shape(batch, channels, shape, with_bias):
    x, weight = _double(batch, channels[0], *shape), _double(channels[1], channels[0], 3, 3, 3)
    bias = torch.randn(channels[1], dtype=torch.float64, requires_grad=True) if with_bias else None
    inputs = [x, weight] if bias is None else [x, weight, bias]
    theirs, ours = functional.conv3d(x, weight, bias, padding=1), convolve(x, weight, bias)
    torch.testing.assert_close(ours, theirs)
    way = torch.randn_like(theirs)
    for mine, reference in zip(
        torch.autograd.grad(ours, inputs, way), torch.autograd.grad(theirs, inputs, way), strict=True
    ):
        torch.testing.assert_close(mine, reference)


def test_float32_stays_within_rounding():
    x = torch.randn(2, 32, 17, 8, 8).contiguous(memory_format=torch.channels_last_3d)
    conv = Conv3d(32, 48, 3, padding=1)
    reference = functional.conv3d(x.double(), conv.weight.double(), conv.bias.double(), padding=1)
    ours = conv.train()(x)
    assert (ours.double() - reference).abs().max() / reference.abs().max() < 2e-5
    assert not torch.equal(ours, conv.eval()(x))  # the short way was taken: it rounds elsewhere


@pytest.mark.parametrize("why", ["evaluation", "few channels", "short", "stride", "kernel", "bf16", "channels-first"])
def test_takes_torchs_way_where_the_short_one_does_not_pay(why):
    inputs = 16 if why == "few channels" else 32
    x = torch.randn(2, inputs, 8 if why == "short" else 16, 6, 6)
    if why != "channels-first":
        x = x.contiguous(memory_format=torch.channels_last_3d)
    kernel, padding = (1, 0) if why == "kernel" else (3, 1)
    conv = Conv3d(inputs, 32, kernel, 2 if why == "stride" else 1, padding).train(why != "evaluation")
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=why == "bf16"):
        assert "Winograd" not in type(conv(x).grad_fn).__name__
