"""What training makes small. A loss takes logits and truth and gives a scalar; `LOSSES` names the choices.

Logits are (B, K, X, Y, Z). Truth is (B, X, Y, Z) class indices for a softmax over K classes with background 0, or
(B, K, X, Y, Z) zeros and ones for K overlapping structures. All sums are taken in float32. With `masked`, voxels whose
class is IGNORED, or whose membership is below 0, add nothing to any sum and count in no mean.

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
IGNORED = 255  # as `data.targets` has it: the class of voxels that do not train
SMOOTH = 1.0  # voxels: keeps an absent structure's soft Dice defined, as in Intel's original and nnU-Net's 1e-5 .. 1


@dataclass(frozen=True)
class LossSettings:
    """The numbers of the losses that have some.

    `batch_dice`: Dice and Tversky over the batch as one volume (small structures are in some patch), else patch by
    patch and then the mean. `tversky_beta`: weight of what is missed; what is found wrongly weighs 1 - beta (0.5 is
    Dice). `focal_gamma`: 0 is cross-entropy, more looks harder at hard voxels. `topk_share`: share of voxels that
    count, the worst ones. `masked`: the truth may hold voxels that are to be ignored; looking for them costs time.
    """

    batch_dice: bool = True
    tversky_beta: float = 0.7
    focal_gamma: float = 2.0
    topk_share: float = 0.1
    masked: bool = False


PLAIN = LossSettings()


def cross_entropy(logits: Tensor, truth: Tensor, whole: Whole = ALONE, how: LossSettings = PLAIN) -> Tensor:
    """Mean over voxels of -log of the true class's probability; of each structure's own where they overlap."""
    if how.masked:
        return _mean_of(_entropy(logits, truth, True), _counted(truth, logits), whole)
    if _overlapping(logits, truth):
        return whole.mean(functional.binary_cross_entropy_with_logits(logits.float(), truth.float()))
    return whole.mean(functional.cross_entropy(logits.float(), truth.long()))


def dice(logits: Tensor, truth: Tensor, whole: Whole = ALONE, how: LossSettings = PLAIN) -> Tensor:
    """1 minus the mean soft Dice of the structures (Milletari et al. 2016 with linear denominators)."""
    return 1 - _mean(soft_dice(logits, truth, whole, how), whole)


def dice_ce(logits: Tensor, truth: Tensor, whole: Whole = ALONE, how: LossSettings = PLAIN) -> Tensor:
    """Soft-Dice loss plus cross-entropy (Isensee et al. 2021), each with weight 1; binary where structures overlap."""
    return cross_entropy(logits, truth, whole, how) + dice(logits, truth, whole, how)


def log_dice(logits: Tensor, truth: Tensor, whole: Whole = ALONE, how: LossSettings = PLAIN) -> Tensor:
    """-log of the soft Dice: the loss of Intel's original, there with one sigmoid output."""
    return _mean(-torch.log(soft_dice(logits, truth, whole, how)), whole)


def tversky(logits: Tensor, truth: Tensor, whole: Whole = ALONE, how: LossSettings = PLAIN) -> Tensor:
    """1 minus the Tversky index tp / (tp + (1 - beta) fp + beta fn), mean over structures (Salehi et al. 2017)."""
    both, found, there = overlaps(logits, truth, whole, how)
    wrong, missed = found - both, there - both
    index = (both + SMOOTH) / (both + (1 - how.tversky_beta) * wrong + how.tversky_beta * missed + SMOOTH)
    return 1 - _mean(index, whole)


def focal(logits: Tensor, truth: Tensor, whole: Whole = ALONE, how: LossSettings = PLAIN) -> Tensor:
    """Cross-entropy with each voxel weighted by (1 - p)^gamma, p its probability of being right (Lin et al. 2017)."""
    entropy = _entropy(logits, truth, how.masked)
    wrong = (-torch.expm1(-entropy)).clamp_min(1e-8)  # at 0 a power below 1 has no slope
    hard = wrong**how.focal_gamma * entropy
    return _mean_of(hard, _counted(truth, logits), whole) if how.masked else whole.mean(hard.mean())


def dice_focal(logits: Tensor, truth: Tensor, whole: Whole = ALONE, how: LossSettings = PLAIN) -> Tensor:
    """Soft-Dice loss plus focal loss, each with weight 1 (after Zhu et al. 2019)."""
    return dice(logits, truth, whole, how) + focal(logits, truth, whole, how)


def topk(logits: Tensor, truth: Tensor, whole: Whole = ALONE, how: LossSettings = PLAIN) -> Tensor:
    """Mean cross-entropy of the worst `topk_share` of all voxels (Wu et al. 2016; 10 % as in nnU-Net's variant).

    Of several processes each takes the worst voxels of its own rows.
    """
    entropy = _entropy(logits, truth, how.masked).reshape(-1)
    if how.masked:
        entropy = entropy[_counted(truth, logits).reshape(-1)]
        if not entropy.numel():
            return whole.mean(logits.float().sum() * 0)
    count = max(1, int(entropy.numel() * how.topk_share))
    return whole.mean(entropy.topk(count, sorted=False).values.mean())


def dice_topk(logits: Tensor, truth: Tensor, whole: Whole = ALONE, how: LossSettings = PLAIN) -> Tensor:
    """Soft-Dice loss plus top-k cross-entropy, each with weight 1."""
    return dice(logits, truth, whole, how) + topk(logits, truth, whole, how)


LOSSES: dict[str, Callable[[Tensor, Tensor, Whole, LossSettings], Tensor]] = {
    "dice_ce": dice_ce,
    "dice": dice,
    "log_dice": log_dice,
    "tversky": tversky,
    "focal": focal,
    "dice_focal": dice_focal,
    "topk": topk,
    "dice_topk": dice_topk,
    "ce": cross_entropy,
}


def make_loss(name: str, how: LossSettings = PLAIN, whole: Whole = ALONE) -> Loss:
    """The loss of that name with its numbers settled."""
    loss = LOSSES[name]
    return lambda logits, truth: loss(logits, truth, whole, how)


def soft_dice(logits: Tensor, truth: Tensor, whole: Whole = ALONE, how: LossSettings = PLAIN) -> Tensor:
    """Soft Dice (2 sum p t + 1) / (sum p + sum t + 1), background left out: (structures,), or (B, structures)."""
    both, found, there = overlaps(logits, truth, whole, how)
    return (2 * both + SMOOTH) / (found + there + SMOOTH)


def overlaps(
    logits: Tensor, truth: Tensor, whole: Whole = ALONE, how: LossSettings = PLAIN
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums over voxels of p t, p and t for each structure: (structures,) over the batch, else (rows, structures)."""
    batch = how.batch_dice
    if _overlapping(logits, truth):
        probability, member = torch.sigmoid(logits.float()), truth.float()
    else:
        probability = torch.softmax(logits.float(), dim=1)[:, 1:]
        classes = torch.arange(1, logits.shape[1], device=logits.device).view(1, -1, 1, 1, 1)
        member = (truth[:, None] == classes).float()
    if how.masked:
        counted = truth >= 0 if _overlapping(logits, truth) else truth[:, None] != IGNORED
        probability, member = probability * counted, member.clamp_min(0)
    axes = (0, 2, 3, 4) if batch else (2, 3, 4)
    sums = torch.stack([(probability * member).sum(axes), probability.sum(axes), member.sum(axes)])
    both, found, there = whole.sum(sums) if batch else sums
    return both, found, there


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


def _mean(values: Tensor, whole: Whole) -> Tensor:
    """Mean over structures, which all processes know, and over rows, of which each has some."""
    return values.mean() if values.ndim == 1 else whole.mean(values.mean())


def _mean_of(values: Tensor, counted: Tensor, whole: Whole) -> Tensor:
    """The mean of the values that count, over all rows of all processes; 0 where none does."""
    total, count = whole.sum(torch.stack([(values * counted).sum(), counted.sum().float()]))
    return total / count.detach().clamp_min(1)


def _counted(truth: Tensor, logits: Tensor) -> Tensor:
    """Which values of `_entropy` count."""
    return truth >= 0 if _overlapping(logits, truth) else truth != IGNORED


def _entropy(logits: Tensor, truth: Tensor, masked: bool = False) -> Tensor:
    """Cross-entropy of each voxel, (B, X, Y, Z); where structures overlap, of each structure, (B, K, X, Y, Z).

    With `masked`, what is to be ignored has a value, but one that does not count.
    """
    if _overlapping(logits, truth):
        member = truth.float().clamp_min(0) if masked else truth.float()
        return functional.binary_cross_entropy_with_logits(logits.float(), member, reduction="none")
    return functional.cross_entropy(logits.float(), truth.long(), reduction="none", ignore_index=IGNORED)


def _overlapping(logits: Tensor, truth: Tensor) -> bool:
    return truth.ndim == logits.ndim
