from dataclasses import replace

import pytest
import torch
from torch import nn

from decaseg.nets.spec import NetworkSpec
from decaseg.nets.unet import InstanceNorm, build

SPEC = NetworkSpec(2, 3, (4, 8, 16), ((1, 1, 1), (2, 2, 2), (1, 2, 2)), ((3, 3, 3), (3, 3, 3), (1, 3, 3)))


@pytest.mark.parametrize(
    "change",
    [{}, {"norm": "batch"}, {"norm": "none"}, {"norm": "group"}, {"downsample": "maxpool"}, {"residual": True},
     {"residual": True, "blocks": (1, 2), "norm": "none"}, {"residual": True, "norm": "batch", "dropout": 0.2},
     {"dropout": 0.3}, {"convs": 1}, {"convs": 3, "residual": True, "downsample": "maxpool"}, {"decoder_convs": 1},
     {"nonlinearity": "relu"}, {"upsample": "nearest"}, {"upsample": "nearest", "residual": True}],
)  # fmt: skip
def test_logits_have_the_inputs_shape_and_gradients_reach_every_weight(change):
    network = build(replace(SPEC, **change)).train()
    logits = network(torch.rand(2, 2, 8, 12, 16))
    assert logits.shape == (2, 3, 8, 12, 16)
    logits.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    with torch.no_grad():
        assert network.eval()(torch.rand(1, 2, 4, 4, 8)).shape == (1, 3, 4, 4, 8)


def test_deep_supervision_gives_finest_first_and_only_in_training():
    spec = NetworkSpec(1, 2, (2, 4, 8, 16), ((1, 1, 1), *[(2, 2, 2)] * 3), ((3, 3, 3),) * 4, deep_supervision=2)
    network = build(spec).train()
    found = network(torch.rand(1, 1, 16, 16, 16))
    assert [tuple(level.shape) for level in found] == [(1, 2, n, n, n) for n in (16, 8, 4)]
    assert isinstance(network.eval()(torch.rand(1, 1, 16, 16, 16)), torch.Tensor)
    sum(level.square().mean() for level in found).backward()
    assert all(p.grad is not None for p in network.parameters())


def test_a_single_level_works():
    assert build(NetworkSpec(1, 2, (4,), ((1, 1, 1),), ((3, 3, 3),)))(torch.rand(1, 1, 5, 5, 5)).shape[1] == 2


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_instance_norm_equals_torchs_with_its_gradients(layout):
    torch.manual_seed(0)
    ours, theirs = InstanceNorm(5, affine=True), nn.InstanceNorm3d(5, affine=True)
    with torch.no_grad():
        ours.weight.uniform_(0.5, 2)
        ours.bias.uniform_(-1, 1)
    theirs.load_state_dict(ours.state_dict())
    x = (torch.rand(3, 5, 6, 7, 8) * 4 - 1).contiguous(memory_format=layout)
    aim = torch.rand(3, 5, 6, 7, 8)
    results = []
    for norm in (ours, theirs):
        leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
        y = norm.train()(leaf)
        ((y - aim) ** 2).mean().backward()
        results.append((y.detach(), leaf.grad, norm.weight.grad, norm.bias.grad))
    for mine, torchs in zip(*results, strict=True):
        torch.testing.assert_close(mine, torchs, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.eval()(x), ours.train()(x), atol=1e-5, rtol=1e-5)


def test_the_original_has_the_parameters_that_its_drawing_says():
    levels = 5
    spec = NetworkSpec(1, 1, (16, 32, 64, 128, 256), ((1, 1, 1), *[(2, 2, 2)] * 4), ((3, 3, 3),) * levels,
                       norm="batch", nonlinearity="relu", downsample="maxpool")  # fmt: skip
    encoder = [(1, 16), (16, 16), (16, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256)]
    decoder = [(256, 128), (128, 128), (128, 64), (64, 64), (64, 32), (32, 32), (32, 16), (16, 16)]
    convolutions = sum(27 * a * b + b + 2 * b for a, b in encoder + decoder)  # weights, biases, batch norm
    ups = sum(8 * a * b + b for a, b in [(256, 128), (128, 64), (64, 32), (32, 16)])
    head = 16 + 1
    assert sum(p.numel() for p in build(spec).parameters()) == convolutions + ups + head
    assert sum(isinstance(m, nn.MaxPool3d) for m in build(spec).modules()) == levels - 1


def test_specs_survive_json_and_refuse_the_unknown():
    assert NetworkSpec.from_json(SPEC.to_json()) == SPEC
    assert SPEC.reduction == (2, 4, 4)
    for bad in (
        {"norm": "layer"},
        {"blocks": ()},
        {"blocks": (1, 0)},
        {"dropout": 1.0},
        {"convs": 0},
        {"downsample": "mean"},
        {"nonlinearity": "tanh"},
        {"filters": (4,)},
    ):
        with pytest.raises(ValueError):
            replace(SPEC, **bad)


def test_the_residual_encoder_has_the_parameters_of_nnunets():
    """Counted by hand after Isensee et al. 2024: stem, blocks of two convolutions, ResNet-D shortcuts, one up."""
    filters, blocks = (4, 8, 16), (1, 3, 4)
    spec = NetworkSpec(2, 3, filters, ((1, 1, 1), (2, 2, 2), (2, 2, 2)), ((3, 3, 3),) * 3, residual=True)

    def conv(a, b):
        return 27 * a * b + b + 2 * b  # weights, bias, norm

    expected = conv(2, 4)  # the stem
    for before, after, count in zip((4, 4, 8), filters, blocks, strict=True):
        expected += conv(before, after) + conv(after, after) + (count - 1) * 2 * conv(after, after)
        expected += before * after + 2 * after if before != after else 0
    expected += sum(8 * a * b + b + conv(2 * b, b) for a, b in [(16, 8), (8, 4)])  # ups, each with one convolution
    network = build(spec)
    assert sum(p.numel() for p in network.parameters()) == expected + 3 * 4 + 3
    assert sum(isinstance(m, nn.AvgPool3d) for m in network.modules()) == 2


def test_a_fresh_residual_block_is_its_shortcut():
    spec = NetworkSpec(4, 2, (4,), ((1, 1, 1),), ((3, 3, 3),), residual=True, blocks=(3,))
    level = build(spec).encoder[0]
    x = torch.rand(1, 4, 6, 6, 6)
    stem = level[2](level[1](level[0](x)))
    torch.testing.assert_close(level(x), nn.LeakyReLU(0.01)(nn.LeakyReLU(0.01)(nn.LeakyReLU(0.01)(stem))))


def test_a_short_list_of_blocks_repeats_its_last():
    spec = replace(SPEC, residual=True, blocks=(1, 2))
    assert [spec.blocks_at(level) for level in range(3)] == [1, 2, 2]
    assert NetworkSpec.from_json(spec.to_json()) == spec
