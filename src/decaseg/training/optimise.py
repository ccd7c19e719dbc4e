"""Optimisers, learning-rate schedules and the moving average of weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from decaseg.nets.members import members_of

OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": lambda params, lr, decay: torch.optim.Adam(params, lr=lr, weight_decay=decay, eps=1e-7),  # Keras' eps
    "adamw": lambda params, lr, decay: torch.optim.AdamW(params, lr=lr, weight_decay=decay),
    "sgd": lambda params, lr, decay: torch.optim.SGD(params, lr=lr, weight_decay=decay, momentum=0.99, nesterov=True),
}


def one_cycle(progress: float, end: float = 0.0) -> float:
    """Share of the peak rate: up over the first 15 %, then a half cosine to `end` (after Smith and Topin 2019)."""
    warm = 0.15
    if progress < warm:
        return 0.04 + 0.96 * (0.5 - 0.5 * math.cos(math.pi * progress / warm))
    return cosine((progress - warm) / (1 - warm), end)


def poly(progress: float, end: float = 0.0) -> float:
    """(1 - progress)^0.9, nnU-Net's schedule, over `end`."""
    return float(end + (1 - end) * (1 - min(progress, 1.0)) ** 0.9)


def cosine(progress: float, end: float = 0.0) -> float:
    """A half cosine from the peak to `end`, without a warm-up (Loshchilov and Hutter 2017, no restarts)."""
    return end + (1 - end) * (0.5 + 0.5 * math.cos(math.pi * min(progress, 1.0)))


def constant(progress: float, end: float = 0.0) -> float:
    """Always the peak rate; `plateau` lowers it by its own state."""
    return 1.0


SCHEDULES: dict[str, Callable[[float, float], float]] = {
    "one_cycle": one_cycle,
    "poly": poly,
    "cosine": cosine,
    "constant": constant,
    "plateau": constant,
}


def make_optimiser(name: str, model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """The optimiser; weight decay acts on convolution weights only, not on norms and biases."""
    if name not in OPTIMISERS:
        raise ValueError(f"optimiser {name!r}: choose one of {', '.join(OPTIMISERS)}")
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return OPTIMISERS[name](groups, lr, weight_decay)


class Plateau:
    """Halves the rate when validation Dice has not improved for `patience` validations."""

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.best, self.waited, self.factor = -1.0, 0, 1.0

    def see(self, dice: float) -> None:
        if dice > self.best + 1e-4:
            self.best, self.waited = dice, 0
        else:
            self.waited += 1
            if self.waited >= self.patience:
                self.factor, self.waited = self.factor / 2, 0

    def state(self) -> dict[str, float]:
        return {"best": self.best, "waited": self.waited, "factor": self.factor}

    def load(self, state: dict[str, float]) -> None:
        self.best, self.waited, self.factor = state["best"], int(state["waited"]), state["factor"]


class Patience:
    """Says when to stop: once `patience` validations in a row brought no more than `min_delta` over the best."""

    def __init__(self, patience: int, min_delta: float) -> None:
        self.patience, self.min_delta = patience, min_delta
        self.best, self.waited = -1.0, 0

    @property
    def over(self) -> bool:
        return self.waited >= self.patience

    def see(self, dice: float) -> None:
        if dice > self.best + self.min_delta:
            self.best, self.waited = dice, 0
        else:
            self.waited += 1

    def state(self) -> dict[str, float]:
        return {"best": self.best, "waited": self.waited}

    def load(self, state: dict[str, float]) -> None:
        self.best, self.waited = state["best"], int(state["waited"])


class Average:
    """Exponential moving average of a model's parameters and statistics; young averages forget faster.

    Of members (see `nets.members`) each step changes one; the others' averages rest meanwhile.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.values = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Takes in what a step has changed; to be called after each."""
        nets = members_of(model)
        turn, done = self.updates % len(nets), self.updates // len(nets) + 1
        self.updates += 1
        weight = 1 - min(self.decay, (1 + done) / (10 + done))
        prefix = f"nets.{turn}." if len(nets) > 1 else ""
        changed = nets[turn].state_dict(prefix=prefix)
        moving = [name for name, tensor in changed.items() if tensor.is_floating_point()]
        torch._foreach_lerp_([self.values[name] for name in moving], [changed[name] for name in moving], weight)
        for name, tensor in changed.items():
            if not tensor.is_floating_point():
                self.values[name].copy_(tensor)


def all_finite(tensors: Iterable[Tensor]) -> bool:
    return all(bool(torch.isfinite(t).all()) for t in tensors)
