"""Muon: steps of equal size in all directions of a weight matrix, for convolutions (Jordan et al. 2024).

Adam scales every weight by itself. Gradients of convolutions are nearly of low rank, so most directions hardly move;
Muon takes the momentum's nearest orthogonal matrix instead, in which no direction outweighs another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

LEAST_SIDE = 8  # smaller matrices, norms and biases are AdamW's
MOMENTUM = 0.95
BETAS, EPS = (0.9, 0.95), 1e-8
# x -> a x + b x^3 + c x^5 five times brings singular values from 0.001 on near 1 (coefficients of Jordan et al. 2024).
STEPS, A, B, C = 5, 3.4445, -4.7750, 2.0315
ADAM_RMS = 0.2  # the usual size of AdamW's steps, so that its learning rates serve here (Liu et al. 2025)


class Muon(torch.optim.Optimizer):
    """Muon for weights whose matrix has both sides of `LEAST_SIDE` or more, AdamW for the rest; decay is decoupled."""

    def __init__(self, params: Any, lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                move = _as_muon if is_matrix(weight) else _as_adam
                update = move(self.state[weight], weight.grad)
                weight.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update, alpha=group["lr"])


def is_matrix(weight: Tensor) -> bool:
    """Whether `weight` (outputs, inputs, ...) is orthogonalised, as a matrix of outputs by the rest."""
    return weight.ndim > 1 and min(weight.shape[0], weight[0].numel()) >= LEAST_SIDE


def orthogonal(matrix: Tensor) -> Tensor:
    """About the nearest matrix (M, N) whose singular values are all 1; here they end between 0.7 and 1.2.

    Newton and Schulz's iteration in the space of the smaller side's products: two products with the matrix itself,
    where the textbook's form takes fifteen.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    wide = matrix.T if tall else matrix
    wide = wide / (wide.norm() + 1e-7)
    products = wide @ wide.T
    one = torch.eye(len(products), dtype=products.dtype, device=products.device)
    total = one
    for _ in range(STEPS):
        factor = A * one + products @ (B * one + C * products)
        total = factor @ total
        products = factor @ products @ factor
    found = total @ wide
    return found.T if tall else found


def _as_muon(state: dict[str, Any], gradient: Tensor) -> Tensor:
    if not state:
        state["momentum"] = torch.zeros_like(gradient)
    momentum: Tensor = state["momentum"]
    momentum.lerp_(gradient, 1 - MOMENTUM)
    ahead = gradient.lerp(momentum, MOMENTUM)  # Nesterov's
    last = ahead.movedim(1, -1)  # inputs last, as channels-last weights lie in memory: columns in any order will do
    matrix = last.reshape(len(last), -1)
    update = orthogonal(matrix).mul_(ADAM_RMS * max(matrix.shape) ** 0.5)
    return update.reshape(last.shape).movedim(-1, 1)


def _as_adam(state: dict[str, Any], gradient: Tensor) -> Tensor:
    if not state:
        state["step"] = torch.zeros(())
        state["first"], state["second"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
    state["step"] += 1
    first, second, step = state["first"], state["second"], float(state["step"])
    first.lerp_(gradient, 1 - BETAS[0])
    second.lerp_(gradient.square(), 1 - BETAS[1])
    length = (second / (1 - BETAS[1] ** step)).sqrt() + EPS
    update: Tensor = first / (1 - BETAS[0] ** step) / length
    return update
