"""Where a skip joins the way up."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from decaseg.nets.scratch import Scratch


def beside(low: Tensor, skip: Tensor, scratch: Scratch | None = None) -> Tensor:
    """`torch.cat` along the channels; on a processor its gradients are whole tensors, not views of every second half.

    What takes such a view in bf16 (ReLU's gradient, a sum with the gradient of the way down) loses its vectors: a sum
    takes five times as long, far more than making it whole (in float32 as much: step-speed/single_operations.py). The
    result lies in `scratch`, where that is given.
    """
    if low.device.type != "cpu" or not (torch.is_grad_enabled() or scratch):
        return torch.cat([low, skip], dim=1)
    result: Tensor = _Beside.apply(low, skip, scratch)
    return result


class _Beside(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, low: Tensor, skip: Tensor, scratch: Scratch | None) -> Tensor:
        ctx.channels = low.shape[1]
        if scratch is None or low.dtype != skip.dtype:
            return torch.cat([low, skip], dim=1)
        out = scratch.like(skip, low.shape[1] + skip.shape[1])
        torch.cat([low, skip], dim=1, out=out)
        return out.detach()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gradient, n = gradients[0], ctx.channels
        order = torch.channels_last_3d if gradient.is_contiguous(memory_format=torch.channels_last_3d) else None
        order = order or torch.contiguous_format
        return gradient[:, :n].contiguous(memory_format=order), gradient[:, n:].contiguous(memory_format=order), None
