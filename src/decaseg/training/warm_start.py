"""Weights of another training in a new network, as far as they fit."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from decaseg.nets.members import own_name

HEADS = "heads."  # the 1 x 1 x 1 convolutions that give the structures


@dataclass(frozen=True, eq=False)
class Anchor:
    """Weights that a training began with, and their share in those that it ends with.

    Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022: the mean of start and end keeps most of what a
    few cases taught and most of what they made the network forget.
    """

    weights: Mapping[str, Tensor]
    share: float

    def mixed(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`values`, moved towards the start by its share; what is not in `weights`, or counts, stays as it is."""
        return {
            name: value.lerp(self.weights[name], self.share)
            if name in self.weights and value.is_floating_point()
            else value
            for name, value in values.items()
        }


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
