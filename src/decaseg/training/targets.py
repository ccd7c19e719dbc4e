"""Label maps in the form the losses want, made on the training device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from decaseg.data.targets import Target


def truth_for_loss(target: Target, device: torch.device) -> Callable[[Tensor], Tensor]:
    """A function from labels (B, X, Y, Z) uint8 to (B, X, Y, Z) class indices, or (B, S, X, Y, Z) memberships."""
    if target.overlapping:
        table = torch.from_numpy(target.membership()).to(device)  # (S, 256)
        return lambda label: table[:, label.long()].transpose(0, 1).float()
    classes = torch.from_numpy(target.class_of_label()).to(device)
    return lambda label: classes[label.long()]
