"""Instance norm and nonlinearity in one go, against torch's two."""

import pytest
import torch
from torch import nn

from decaseg.nets.norm import InstanceNorm, normalise_and_activate


@pytest.mark.parametrize("activation", [nn.LeakyReLU(0.01), nn.LeakyReLU(0.2, inplace=True), nn.ReLU(), nn.Identity()])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_and_gradients_are_those_of_torchs_norm_and_nonlinearity(activation, dtype):
    norm, reference = InstanceNorm(5, affine=True).train(), nn.InstanceNorm3d(5, affine=True)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    reference.load_state_dict(norm.state_dict())
    x = (torch.randn(3, 5, 6, 4, 7) * 2 + 1).contiguous(memory_format=torch.channels_last_3d).to(dtype)
    way, results = torch.randn(3, 5, 6, 4, 7), []
    for kind in (norm, reference):
        mine = x.clone().requires_grad_()
        seen = mine if kind is norm else mine.float()
        out = normalise_and_activate(kind, activation, seen)
        inputs = (mine, kind.weight, kind.bias)
        results.append([out.float(), *torch.autograd.grad(out, inputs, way.to(out.dtype))])
    close = {"atol": 1e-4, "rtol": 1e-4} if dtype == torch.float32 else {"atol": 0.3, "rtol": 0.05}
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours.float(), theirs.float(), **close)


def test_the_pair_is_made_in_one_go_where_it_can_be():
    x = torch.randn(2, 3, 4, 4, 4).contiguous(memory_format=torch.channels_last_3d)
    norm = InstanceNorm(3, affine=True).train()
    assert "SampleWise" in type(normalise_and_activate(norm, nn.ReLU(), x).grad_fn).__name__
    assert "SampleWise" not in type(normalise_and_activate(norm, nn.ELU(), x).grad_fn).__name__
    assert "SampleWise" not in type(normalise_and_activate(norm.eval(), nn.ReLU(), x).grad_fn).__name__
