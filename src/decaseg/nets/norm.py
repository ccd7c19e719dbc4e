"""Instance norm and the nonlinearity after it as one pass over the batch, sample by sample, in channels-last memory.

torch's own instance norm turns a channels-last batch to channels-first and back on a processor. Batch norm of one
sample is the same arithmetic and has a channels-last kernel. Going sample by sample, the nonlinearity and the gradients
find a sample's values still in the processor's cache; the results are written where they belong, without copies.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

normalise_into = torch.ops.aten.native_batch_norm.out
_normalise_backward = torch.ops.aten.native_batch_norm_backward
_activate_backward = torch.ops.aten.leaky_relu_backward


class InstanceNorm(nn.InstanceNorm3d):
    """torch's instance norm, with a faster way to train and to predict on a processor."""

    def forward(self, input: Tensor) -> Tensor:
        if not _ours(self, input):
            return super().forward(input)
        if torch.is_inference_mode_enabled():
            return _infer(self, input, torch.empty_like(input), None)
        result: Tensor = _SampleWise.apply(input, self.weight, self.bias, self.eps, None)
        return result


def normalise_and_activate(norm: nn.Module, activation: nn.Module, x: Tensor) -> Tensor:
    """`activation(norm(x))`, in one go where the pair allows it: (B, C, X, Y, Z) in and out.

    In inference mode the result may lie where `x` lay: give what a convolution made.
    """
    if isinstance(norm, InstanceNorm) and _ours(norm, x):
        slope = slope_of(activation)
        if slope is not None:
            if torch.is_inference_mode_enabled():
                return _infer(norm, x, x, slope)
            result: Tensor = _SampleWise.apply(x, norm.weight, norm.bias, norm.eps, slope)
            return result
    activated: Tensor = activation(norm(x))
    return activated


def slope_of(activation: nn.Module) -> float | None:
    """The slope below zero of (leaky) ReLU, None for others."""
    if isinstance(activation, nn.LeakyReLU):
        return activation.negative_slope
    return 0.0 if isinstance(activation, nn.ReLU) else None


def _ours(norm: nn.Module, x: Tensor) -> bool:
    """Training and prediction; plain eval mode, which exports trace, keeps torch's own operations."""
    return x.device.type == "cpu" and (norm.training or torch.is_inference_mode_enabled())


def _infer(norm: InstanceNorm, x: Tensor, out: Tensor, slope: float | None) -> Tensor:
    """Instance norm and (leaky) ReLU into `out`, which may be `x`, keeping nothing for a way back."""
    mean = torch.empty(x.shape[1], dtype=norm.weight.dtype)
    inverse_std = torch.empty_like(mean)
    for n in range(len(x)):
        row = slice(n, n + 1)
        normalise_into(
            x[row], norm.weight, norm.bias, None, None, True, 0.0, norm.eps,
            out=out[row], save_mean=mean, save_invstd=inverse_std,
        )  # fmt: skip
        if slope is not None:
            torch.nn.functional.leaky_relu_(out[row], slope)
    return out


class _SampleWise(torch.autograd.Function):
    """Instance norm (Ulyanov et al. 2016), then (leaky) ReLU with `slope` below zero, or nothing for None.

    The sign of the result is the sign before the nonlinearity, so what came out is enough to go back through it.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float | None) -> Tensor:
        out = torch.empty_like(x)
        mean = torch.empty(x.shape[:2], dtype=weight.dtype)
        inverse_std = torch.empty_like(mean)
        for n in range(len(x)):
            row = slice(n, n + 1)
            normalise_into(
                x[row], weight, bias, None, None, True, 0.0, eps,
                out=out[row], save_mean=mean[n], save_invstd=inverse_std[n],
            )  # fmt: skip
            if slope is not None:
                torch.nn.functional.leaky_relu_(out[row], slope)
        ctx.save_for_backward(x, out if slope is not None else None, weight, mean, inverse_std)
        ctx.eps, ctx.slope = eps, slope
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, out, weight, mean, inverse_std = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last_3d)
        to_x = torch.empty_like(x)
        to_weight, to_bias = torch.zeros_like(weight), torch.zeros_like(weight)
        for n in range(len(x)):
            row = slice(n, n + 1)
            g = gradient[row]
            if out is not None:
                g = _activate_backward(g, out[row], ctx.slope, True)
            one, w, b = _normalise_backward(
                g, x[row], weight, None, None, mean[n], inverse_std[n], True, ctx.eps, [True, True, True]
            )
            to_x[row].copy_(one)
            to_weight += w
            to_bias += b
        return to_x, to_weight, to_bias, None, None
