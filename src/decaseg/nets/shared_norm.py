"""Batch norm over a batch whose rows lie in several processes; torch's SyncBatchNorm does that on GPUs only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Add = Callable[[Tensor], Tensor]  # adds up a tensor over all processes, in place
AXES = (0, 2, 3, 4)


class SharedBatchNorm(nn.BatchNorm3d):
    """Batch norm (Ioffe and Szegedy 2015) that trains with the statistics of all processes' rows."""

    add: Add  # set by `share_batch_norms`

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        result, mean, variance, count = _Normalise.apply(input, self.weight, self.bias, self.eps, self.add)
        unbiased = (variance * count / (count - 1)).float()
        with torch.no_grad():
            for running, now in ((self.running_mean, mean), (self.running_var, unbiased)):
                assert running is not None
                running.lerp_(now, self.momentum or 0.0)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked += 1
        return result


def share_batch_norms(model: nn.Module, add: Add) -> None:
    """Turns a model's batch norms into shared ones, in place; names and values of weights stay."""
    for module in model.modules():
        if type(module) is nn.BatchNorm3d:
            module.__class__ = SharedBatchNorm
            object.__setattr__(module, "add", add)


class _Normalise(torch.autograd.Function):
    """With y = (x - mean) / std over all n voxels of a channel and g the gradient by the result:

    dx = weight / std * (g - sum(g) / n - y * sum(g y) / n). Both sums run over all processes; those that are the
    gradients of bias and weight stay this process's own, since gradients are added up later.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, add: Add
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        variance, mean = torch.var_mean(x.float(), AXES, correction=0)
        n = x.numel() // x.shape[1]
        # In float64, where mean^2 + variance - mean^2 loses nothing that float32 could show.
        mean, variance = mean.double(), variance.double()
        sums = add(torch.stack([torch.full_like(mean, n), n * mean, n * (variance + mean**2)]))
        count = sums[0]
        mean = sums[1] / count
        variance = sums[2] / count - mean**2
        mean32, variance32 = mean.float(), variance.float()
        ctx.save_for_backward(x, weight, mean32, torch.rsqrt(variance32 + eps), count.float())
        ctx.add = add
        ctx.mark_non_differentiable(mean32, variance32, count)
        return functional.batch_norm(x, mean32, variance32, weight, bias, False, 0.0, eps), mean32, variance32, count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse_std, count = ctx.saved_tensors
        g = gradients[0].float()
        y = (x.float() - _wide(mean)) * _wide(inverse_std)
        mine = torch.stack([g.sum(AXES), (g * y).sum(AXES)])
        to_bias, to_weight = mine
        mean_g, mean_gy = ctx.add(mine.clone()) / count
        to_x = _wide(weight * inverse_std) * (g - _wide(mean_g) - y * _wide(mean_gy))
        return to_x.to(x.dtype), to_weight.to(weight.dtype), to_bias.to(weight.dtype), None, None


def _wide(channels: Tensor) -> Tensor:
    return channels[:, None, None, None]
