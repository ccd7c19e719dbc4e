"""What training makes small. A loss takes logits and truth and gives a scalar; `LOSSES` names the choices.

Logits are (B, K, X, Y, Z). Truth is (B, X, Y, Z) class indices for a softmax over K classes with background 0, or
(B, K, X, Y, Z) zeros and ones for K overlapping structures. All sums are taken in float32.

Several processes may share a batch; the loss is that of the whole batch all the same. So a loss hands every sum over
the batch to `whole.sum` and every mean to `whole.mean`, which do nothing where one process has it all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Whole:
    """A batch of which this process has the `share` (of rows); `sum` adds up a tensor over all processes."""

    sum: Callable[[Tensor], Tensor]
    share: float

    def mean(self, mine: Tensor) -> Tensor:
        """The mean over the whole batch, from the mean over this process's rows."""
        return mine if self.share == 1 else self.sum(mine * self.share)


ALONE = Whole(lambda mine: mine, 1.0)
SMOOTH = 1.0  # voxels: keeps an absent structure's soft Dice defined, as in Intel's original and nnU-Net's 1e-5 .. 1


def dice_ce(logits: Tensor, truth: Tensor, whole: Whole = ALONE) -> Tensor:
    """Soft-Dice loss plus cross-entropy (Isensee et al. 2021), each with weight 1; binary where structures overlap."""
    if _overlapping(logits, truth):
        entropy = functional.binary_cross_entropy_with_logits(logits.float(), truth.float())
    else:
        entropy = functional.cross_entropy(logits.float(), truth.long())
    return whole.mean(entropy) + 1 - soft_dice(logits, truth, whole).mean()


def dice(logits: Tensor, truth: Tensor, whole: Whole = ALONE) -> Tensor:
    """1 minus the mean soft Dice of the structures (Milletari et al. 2016 with linear denominators)."""
    return 1 - soft_dice(logits, truth, whole).mean()


def log_dice(logits: Tensor, truth: Tensor, whole: Whole = ALONE) -> Tensor:
    """-log of the soft Dice: the loss of Intel's original, there with one sigmoid output."""
    return -torch.log(soft_dice(logits, truth, whole)).mean()


LOSSES: dict[str, Callable[..., Tensor]] = {"dice_ce": dice_ce, "dice": dice, "log_dice": log_dice}


def soft_dice(logits: Tensor, truth: Tensor, whole: Whole = ALONE) -> Tensor:
    """(structures,) soft Dice over the whole batch: (2 sum p t + 1) / (sum p + sum t + 1), background left out."""
    if _overlapping(logits, truth):
        probability, member = torch.sigmoid(logits.float()), truth.float()
    else:
        probability = torch.softmax(logits.float(), dim=1)[:, 1:]
        classes = torch.arange(1, logits.shape[1], device=logits.device).view(1, -1, 1, 1, 1)
        member = (truth[:, None] == classes).float()
    axes = (0, 2, 3, 4)
    sums = torch.stack([(probability * member).sum(axes), probability.sum(axes), member.sum(axes)])
    both, expected, true = whole.sum(sums)
    return (2 * both + SMOOTH) / (expected + true + SMOOTH)


def deeply_supervised(loss: Loss, logits: Sequence[Tensor], truth: Tensor) -> Tensor:
    """The loss at every level, finest first, weighted 1, 1/2, 1/4 … summing to 1 (nnU-Net); truth by nearest voxel."""
    weights = [0.5**i for i in range(len(logits))]
    total = torch.zeros((), device=logits[0].device)
    for weight, level in zip(weights, logits, strict=True):
        total = total + weight / sum(weights) * loss(level, shrink(truth, level.shape[2:]))
    return total


def shrink(truth: Tensor, shape: Sequence[int]) -> Tensor:
    """Truth on a coarser grid, by nearest voxel."""
    if tuple(truth.shape[-3:]) == tuple(shape):
        return truth
    batched = truth if truth.ndim == 5 else truth[:, None]
    small = functional.interpolate(batched.float(), size=list(shape), mode="nearest-exact").to(truth.dtype)
    return small if truth.ndim == 5 else small[:, 0]


def _overlapping(logits: Tensor, truth: Tensor) -> bool:
    return truth.ndim == logits.ndim
