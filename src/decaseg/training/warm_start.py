"""Weights of another training in a new network, as far as they fit."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from decaseg.nets.members import own_name

HEADS = "heads."  # the 1 x 1 x 1 convolutions that give the structures


def take_over(model: nn.Module, weights: Mapping[str, Tensor], leave: Collection[str] = ()) -> tuple[str, ...]:
    """Copies every weight whose name and shape fit into `model`; returns the names that keep their fresh values.

    Names that begin with one of `leave` are left fresh. Weights that the model does not have are passed over.
    """
    fresh = []
    with torch.no_grad():
        for name, mine in model.state_dict().items():
            theirs = weights.get(name)
            if theirs is None or theirs.shape != mine.shape or own_name(name).startswith(tuple(leave)):
                fresh.append(name)
            else:
                mine.copy_(theirs)
    return tuple(fresh)
