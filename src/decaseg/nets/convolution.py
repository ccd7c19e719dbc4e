"""torch's 3D convolution, in training and prediction on a processor the fastest right way that its libraries offer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from decaseg.nets import winograd

# oneDNN 3.12's bf16 weight gradient on AVX-512 reads and writes past its buffers where an axis of the maps is shorter:
# NaN, or glibc's 'double free', seen from 2 x 2 x 2 maps of 8 channels on. float32 is right there.
LEAST_BF16_LENGTH = 3

# Below so many values (the last axis not counted) torch gives a float32 convolution of one sample to its own slow
# kernel instead of oneDNN (`use_mkldnn` in ATen/native/Convolution.cpp), which is 1.5 to 5 times faster
# (step-speed/single_operations.py).
LEAST_FOR_ONEDNN = 20_480

Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]


class Conv3d(nn.Conv3d):
    """Parameters, arguments and results of torch's.

    Other devices are torch's alone, and so is eval mode outside of `torch.inference_mode`: exports trace it.
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.device.type != "cpu" or not (self.training or torch.is_inference_mode_enabled()):
            return super().forward(input)
        if not torch.is_autocast_enabled("cpu"):
            if winograd.pays(self, input):
                return winograd.convolve(input, self.weight, self.bias)
            if _one_small_sample(self, input):
                result: Tensor = _OneSample.apply(input, self.weight, self.bias, self)
                return result
        elif torch.is_grad_enabled() and _too_short_for_bf16(input):
            with torch.autocast("cpu", enabled=False):
                return super().forward(input.float())
        return super().forward(input)


def gradients(layer: nn.Conv3d, x: Tensor, gradient: Tensor, by_input: bool = True) -> Gradients:
    """By input (None unless asked for), weight and bias, from the gradient by what `layer` gave for `x`.

    Runs in the precision of `gradient`, without the forward pass. None for what does not train.
    """
    if gradient.dtype == torch.bfloat16 and _too_short_for_bf16(x):
        by_x, by_weight, by_bias = gradients(layer, x, gradient.float(), by_input)
        return None if by_x is None else by_x.bfloat16(), by_weight, by_bias
    kind = gradient.dtype
    x, weight = x.detach().to(kind), layer.weight.detach().to(kind)
    wanted = by_input, layer.weight.requires_grad, layer.bias is not None and layer.bias.requires_grad
    if wanted[:2] == (True, True) and layer.training and winograd.pays(layer, x):
        return *winograd.gradients(x, weight, gradient), gradient.sum((0, 2, 3, 4)) if wanted[2] else None
    opaque = _one_small_sample(layer, x)
    if opaque:  # oneDNN's own tensors: the one way to reach it here
        x, gradient = x.to_mkldnn(), gradient.to_mkldnn()
    found = torch.ops.aten.convolution_backward(
        gradient, x, weight, None if layer.bias is None else [layer.out_channels],
        layer.stride, layer.padding, layer.dilation, False, [0, 0, 0], layer.groups, wanted,
    )  # fmt: skip
    if opaque and by_input:
        return found[0].to_dense().contiguous(memory_format=torch.channels_last_3d), *found[1:]
    result: Gradients = found
    return result


class _OneSample(torch.autograd.Function):
    """oneDNN's convolution where torch would not ask it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, layer: nn.Conv3d) -> Tensor:
        ctx.save_for_backward(x)
        ctx.layer = layer
        result: Tensor = torch.ops.aten.mkldnn_convolution(
            x, weight, bias, layer.padding, layer.stride, layer.dilation, layer.groups
        )
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *coming: Tensor) -> tuple[Tensor | None, ...]:
        return *gradients(ctx.layer, ctx.saved_tensors[0], coming[0], ctx.needs_input_grad[0]), None


def _too_short_for_bf16(x: Tensor) -> bool:
    return x.device.type == "cpu" and min(x.shape[2:]) < LEAST_BF16_LENGTH


def _one_small_sample(layer: nn.Conv3d, x: Tensor) -> bool:
    return (
        x.shape[0] == 1
        and x.dtype == layer.weight.dtype == torch.float32
        and x.device.type == "cpu"
        and x[0, ..., 0].numel() <= LEAST_FOR_ONEDNN
        and layer.groups == 1
        and isinstance(layer.padding, tuple)
        and x.is_contiguous(memory_format=torch.channels_last_3d)
        and torch.backends.mkldnn.is_available()
        and bool(torch.backends.mkldnn.enabled)
    )
