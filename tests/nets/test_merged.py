"""Networks with merged ways up compute what they were made from."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from decaseg.nets.merged import MergedUNet, merged
from decaseg.nets.spec import NetworkSpec
from decaseg.nets.unet import build

BATCH = NetworkSpec(2, 2, (4, 8, 16), ((1, 1, 1), (2, 2, 2), (2, 2, 2)), ((3, 3, 3),) * 3, norm="batch",
                    nonlinearity="relu", downsample="maxpool")  # fmt: skip
INSTANCE = replace(BATCH, norm="instance", nonlinearity="leaky_relu", downsample="stride")
NETWORKS = {
    "batch": BATCH,
    "instance": INSTANCE,
    "copies": replace(BATCH, upsample="nearest"),
    "no norm": replace(BATCH, norm="none"),
    "one convolution": replace(BATCH, decoder_convs=1),
    "residual": replace(INSTANCE, residual=True, blocks=(1, 2)),
    "flat": replace(BATCH, strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)), kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3))),
    "a stride of 3": replace(BATCH, strides=((1, 1, 1), (3, 2, 2), (2, 2, 2))),
    "members": replace(INSTANCE, members=2),
    "deep supervision": replace(BATCH, deep_supervision=1),
}


def trained(spec: NetworkSpec, bias_up: float) -> nn.Module:
    """A network whose norms and biases have moved from where they start; `bias_up` is the spread of the ways up's."""
    torch.manual_seed(0)
    network = build(spec).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d) and module.bias is not None:
            module.bias.data.normal_(0, bias_up if isinstance(module, nn.ConvTranspose3d) else 0.3)
    return network


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_the_same(name):
    network = trained(NETWORKS[name], bias_up=0.0)
    x = torch.randn(2, 2, 24, 16, 16)
    with torch.no_grad():
        before, after = network(x), merged(network)(x)
    torch.testing.assert_close(after, before, atol=1e-5 * float(before.std()), rtol=1e-5)


def test_a_bias_on_the_way_up_tells_at_the_windows_border_only():
    network = trained(BATCH, bias_up=0.3)
    x = torch.randn(1, 2, 48, 48, 48)
    with torch.no_grad():
        before = network(x)
        differs = (before - merged(network)(x)).abs() / before.std()
    assert differs[..., 8:-8, 8:-8, 8:-8].max() < 1e-5
    assert differs.max() > 1e-2, "else the docstring warns of nothing"


def test_only_what_saves_products_is_merged():
    whole = MergedUNet(trained(BATCH, 0.0))
    assert [hasattr(way_up, "below") for way_up in whole.ways_up] == [True, True]
    # 4 times as many channels below: 8 x 16 products meet in a voxel, apart it were 27 x 4 + 16.
    steep = replace(BATCH, filters=(4, 16, 32))
    assert [hasattr(way_up, "below") for way_up in MergedUNet(trained(steep, 0.0)).ways_up] == [True, False]


def test_the_network_it_was_made_from_stays_as_it_was():
    network = trained(BATCH, bias_up=0.3)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    merged(network)
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
