"""Muon's update against the exact one by singular values, and AdamW's share against torch's own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from decaseg.training.muon import ADAM_RMS, BETAS, MOMENTUM, Muon, is_matrix, orthogonal
from decaseg.training.optimise import make_optimiser


@settings(max_examples=25, deadline=None)
@given(st.integers(8, 40), st.integers(8, 90), st.integers(0, 99))
def test_the_update_turns_as_the_nearest_orthogonal_matrix_does(rows, columns, seed):
    matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    u, lengths, v = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonal(matrix)
    # In the basis of the matrix's own directions: lengths near 1 on the diagonal, nothing beside it.
    turned = u.T @ found @ v.T
    along = turned.diagonal()
    assert (turned - along.diag()).abs().max() < 1e-3
    weak = lengths < 0.02 * lengths.max()
    assert along.max() < 1.25 and along[~weak].min() > 0.5


def test_it_is_the_textbooks_iteration():
    matrix = torch.randn(24, 60, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x = matrix / matrix.norm()
    for _ in range(5):
        products = x @ x.T
        x = 3.4445 * x + (-4.7750 * products + 2.0315 * products @ products) @ x
    assert torch.allclose(orthogonal(matrix), x, atol=1e-6)
    assert torch.allclose(orthogonal(matrix.T), x.T, atol=1e-6)


def test_the_first_step_has_adams_size_in_every_direction():
    weight = nn.Parameter(torch.randn(16, 12, 3, 3, 3))
    before = weight.detach().clone()
    weight.grad = torch.randn_like(weight)
    Muon([weight], lr=0.1).step()
    moved = (before - weight.detach()).reshape(16, -1) / 0.1
    lengths = torch.linalg.svdvals(moved)
    full = ADAM_RMS * (12 * 27) ** 0.5
    assert lengths.min() > 0.5 * full and lengths.max() < 1.3 * full


def test_what_is_no_matrix_goes_as_torchs_adamw_does():
    torch.manual_seed(2)
    here = nn.Linear(4, 3)  # a side below 8, and a bias
    there = nn.Linear(4, 3)
    there.load_state_dict(here.state_dict())
    assert not any(is_matrix(p) for p in here.parameters())
    ours = Muon(here.parameters(), lr=0.01, weight_decay=0.1)
    theirs = torch.optim.AdamW(there.parameters(), lr=0.01, weight_decay=0.1, betas=BETAS)
    for _ in range(7):
        x = torch.randn(5, 4)
        for net, optimiser in ((here, ours), (there, theirs)):
            optimiser.zero_grad()
            net(x).square().sum().backward()
            optimiser.step()
    for mine, other in zip(here.parameters(), there.parameters(), strict=True):
        assert torch.allclose(mine, other, atol=1e-6)


def test_a_saved_state_goes_on_with_the_same_steps():
    def net_and_optimiser():
        torch.manual_seed(3)
        net = nn.Sequential(nn.Conv3d(8, 8, 3, padding=1), nn.Conv3d(8, 2, 1))
        return net, make_optimiser("muon", net, 0.01, 0.05)

    def train(net, optimiser, steps):
        for number in steps:
            x = torch.randn(1, 8, 4, 4, 4, generator=torch.Generator().manual_seed(number))
            optimiser.zero_grad()
            net(x).square().mean().backward()
            optimiser.step()

    whole, optimiser = net_and_optimiser()
    train(whole, optimiser, range(6))
    first, optimiser = net_and_optimiser()
    train(first, optimiser, range(3))
    second, again = net_and_optimiser()
    second.load_state_dict(first.state_dict())
    again.load_state_dict(optimiser.state_dict())
    train(second, again, range(3, 6))
    for a, b in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_momentum_outlives_a_gradient_that_turns():
    weight = nn.Parameter(torch.zeros(8, 8))
    optimiser = Muon([weight], lr=1.0)
    weight.grad = torch.eye(8)
    for _ in range(20):
        optimiser.step()
    before = weight.detach().clone()
    weight.grad = -0.5 * torch.eye(8)
    optimiser.step()
    kept = MOMENTUM * (1 - MOMENTUM**20)
    assert kept * MOMENTUM - 0.5 * (1 - MOMENTUM) * (1 + MOMENTUM) > 0
    assert ((weight.detach() - before).diagonal() < 0).all()


@pytest.mark.parametrize("name", ["adam", "adamw", "muon", "sgd"])
def test_every_optimiser_makes_a_small_network_fit(name):
    torch.manual_seed(4)
    net = nn.Sequential(
        nn.Conv3d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv3d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv3d(8, 1, 1)
    )
    optimiser = make_optimiser(name, net, 0.003, 0.0)
    x = torch.randn(1, 1, 6, 6, 6)
    first = last = 0.0
    for _ in range(40):
        loss = (net(x) - x.abs()).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        last = float(loss.detach())
        first = first or last
    assert last < 0.6 * first
