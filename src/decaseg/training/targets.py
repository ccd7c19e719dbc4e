"""Label maps in the form the losses want, made on the training device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from decaseg.data.targets import Target


def truth_for_loss(target: Target, device: torch.device) -> Callable[[Tensor], Tensor]:
    """A function from labels (B, X, Y, Z) uint8 to (B, X, Y, Z) class indices, or (B, S, X, Y, Z) memberships.

    What is to be ignored has the class IGNORED, or the membership -1.
    """
    if target.overlapping:
        table = torch.from_numpy(target.membership()).to(device)  # (S, 256)
        if (ignored := target.ignored) is None:
            return lambda label: table[:, label.long()].transpose(0, 1).float()
        signed = table.float()
        signed[:, ignored] = -1
        return lambda label: signed[:, label.long()].transpose(0, 1)
    classes = torch.from_numpy(target.class_of_label()).to(device)
    return lambda label: classes[label.long()]
