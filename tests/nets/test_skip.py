"""Skips that join the way up."""

import pytest
import torch

from decaseg.nets.scratch import Scratch
from decaseg.nets.skip import beside


@pytest.mark.parametrize("order", [torch.channels_last_3d, torch.contiguous_format])
def test_is_torchs_cat_with_gradients_that_are_whole(order):
    low, skip = (torch.randn(2, c, 3, 4, 5).to(memory_format=order).requires_grad_() for c in (2, 3))
    joined, way = beside(low, skip), torch.randn(2, 5, 3, 4, 5).to(memory_format=order)
    assert torch.equal(joined, torch.cat([low, skip], 1))
    mine, theirs = (torch.autograd.grad(x, (low, skip), way) for x in (joined, torch.cat([low, skip], 1)))
    for one, other in zip(mine, theirs, strict=True):
        assert torch.equal(one, other) and one.is_contiguous(memory_format=order)


def test_in_scratch_it_is_the_same():
    scratch = Scratch()
    low, skip = (torch.randn(1, c, 3, 4, 5).to(memory_format=torch.channels_last_3d) for c in (2, 3))
    with scratch.borrowed(), torch.no_grad():
        assert torch.equal(beside(low, skip, scratch), torch.cat([low, skip], 1))
        assert torch.equal(beside(low, skip.to(torch.bfloat16), scratch), torch.cat([low, skip.to(torch.bfloat16)], 1))
