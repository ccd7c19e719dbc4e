"""Several networks as one: they train in turn, one a step, and predict together (Hansen and Salamon 1990)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import Tensor, nn


class Members(nn.Module):
    """The mean of its networks' logits, in evaluation; in training call the one whose turn it is, see `in_turn`.

    Logits are averaged, as nnU-Net does with its folds: that serves softmax and sigmoid alike. Each network begins
    from weights of its own and sees batches of its own, so their errors differ and partly cancel in the mean.
    """

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, out_channels, X, Y, Z), float32 or what the networks give."""
        if self.training:
            raise RuntimeError("members train in turn: call in_turn(model, step), not the whole")
        total: Tensor = self.nets[0](x)
        for net in self.nets[1:]:
            total = total + net(x)
        return total / len(self.nets)

    @property
    def saving(self) -> str:
        """How each of them trains with less memory."""
        return str(self.nets[0].saving)

    @saving.setter
    def saving(self, name: str) -> None:
        for net in self.nets:
            net.saving = name  # type: ignore[assignment]


def members_of(model: nn.Module) -> list[nn.Module]:
    """The networks in `model`: its members, or itself."""
    return list(model.nets) if isinstance(model, Members) else [model]


def own_name(name: str) -> str:
    """A weight's name within its member.

    >>> own_name("nets.1.heads.0.weight")
    'heads.0.weight'
    """
    return re.sub(r"^nets\.\d+\.", "", name)


def in_turn(model: nn.Module, step: int) -> nn.Module:
    """The network that step `step` (from 0) trains."""
    nets = members_of(model)
    return nets[step % len(nets)]
