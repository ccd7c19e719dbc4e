"""Saving memory changes no number: losses, gradients and running statistics against the plain forward pass."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from decaseg.losses import deeply_supervised
from decaseg.nets.savings import SAVINGS, savings_for
from decaseg.nets.spec import NetworkSpec
from decaseg.nets.unet import build

SPEC = NetworkSpec(
    in_channels=2,
    out_channels=3,
    filters=(4, 6, 8, 8),
    strides=((1, 1, 1), (2, 2, 2), (1, 2, 2), (2, 2, 1)),
    kernels=((3, 3, 3), (3, 3, 3), (1, 3, 3), (3, 3, 3)),
)
CHANGES = {
    "plain": {},
    "maxpool": {"downsample": "maxpool", "nonlinearity": "relu"},
    "nearest": {"upsample": "nearest", "downsample": "maxpool"},
    "residual": {"residual": True, "blocks": (1, 2)},
    "residual maxpool": {"residual": True, "downsample": "maxpool", "convs": 1, "blocks": (2, 1)},
    "one convolution": {"convs": 1},
    "three convolutions": {"convs": 3},
    "dropout": {"dropout": 0.4},
    "deep supervision": {"deep_supervision": 2, "residual": True, "blocks": (2,), "dropout": 0.2},
    "one level": {"filters": (4,), "strides": ((1, 1, 1),), "kernels": ((3, 3, 3),)},
}
CASES = [(norm, saving) for norm in ("batch", "instance", "group", "none") for saving in savings_for(norm)[1:]]


def overlap(logits, truth):
    """A loss over the whole batch, in the precision of the logits."""
    member = torch.nn.functional.one_hot(truth, logits.shape[1]).movedim(-1, 1)
    probability = logits.softmax(1)
    return 1 - 2 * (probability * member).sum() / (probability.square().sum() + member.sum())


def one_step(network, image, truth, loss_of, autocast):
    """Loss, gradients by name and buffers by name of one step under a fixed seed."""
    torch.manual_seed(7)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        logits = network(image)
    loss = deeply_supervised(loss_of, logits, truth) if isinstance(logits, list) else loss_of(logits, truth)
    loss.backward()
    return loss.detach(), {n: p.grad for n, p in network.named_parameters()}, dict(network.named_buffers())


def plain_and_saved(spec, saving, loss_of=overlap, dtype=torch.float64, autocast=False, samples=3, seed=1):
    torch.manual_seed(seed)
    plain = build(spec).train().to(dtype).to(memory_format=torch.channels_last_3d)
    with torch.no_grad():
        for parameter in plain.parameters():  # as in the middle of a training: nothing is 0 or 1
            if parameter.ndim == 1:
                parameter.add_(torch.rand_like(parameter) - 0.5)
    saved = deepcopy(plain)
    saved.saving = saving
    image = torch.randn(samples, spec.in_channels, 8, 16, 8, dtype=dtype)
    image = image.contiguous(memory_format=torch.channels_last_3d)
    truth = torch.randint(0, spec.out_channels, (samples, 8, 16, 8))
    return [one_step(network, image, truth, loss_of, autocast) for network in (plain, saved)]


def assert_equal_steps(plain, saved, loss, gradients, statistics):
    """Within `loss` and `statistics`, absolute, and within `gradients` times each parameter's largest gradient.

    A bias before a norm has no gradient but rounding, so each is compared with the largest of all where that is
    more than 1000 times its own.
    """
    torch.testing.assert_close(saved[0], plain[0], atol=loss, rtol=0)
    largest = max(gradient.abs().max().item() for gradient in plain[1].values())
    for name, value in plain[1].items():
        scale = max(value.abs().max().item(), largest / 1000)
        assert (saved[1][name] - value).abs().max().item() <= gradients * scale, name
    for name, value in plain[2].items():
        torch.testing.assert_close(saved[2][name], value, atol=statistics, rtol=statistics)


def noise(plain, other):
    """The distance of all gradients together, as a share of their length."""
    apart = sum((other[1][name] - value).double().square().sum() for name, value in plain[1].items())
    return (apart / sum(value.double().square().sum() for value in plain[1].values())).sqrt().item()


# Every network with batch norm and with instance norm, the coarsest saving of each; every saving with one network.
PAIRS = [("batch", "blocks", change) for change in CHANGES]
PAIRS += [("instance", "samples", change) for change in CHANGES]
PAIRS += [(norm, saving, "deep supervision") for norm, saving in CASES if saving != "half"]
PAIRS += [("batch", "down", change) for change in ("maxpool", "residual", "three convolutions", "one level")]
PAIRS += [("none", "maps", "maxpool"), ("none", "blocks", "residual")]  # nonlinearities that overwrite kept maps


@pytest.mark.parametrize(("norm", "saving", "change"), list(dict.fromkeys(PAIRS)))
def test_losses_gradients_and_statistics_are_those_of_the_plain_pass(norm, saving, change):
    steps = plain_and_saved(replace(SPEC, norm=norm, **CHANGES[change]), saving)
    assert_equal_steps(*steps, loss=1e-9, gradients=1e-7, statistics=1e-9)


@pytest.mark.parametrize("change", ["maxpool", "residual", "dropout"])
def test_maps_kept_in_bf16_are_no_noisier_than_training_in_bf16(change):
    spec = replace(SPEC, norm="batch", **CHANGES[change])
    plain, half = plain_and_saved(spec, "half", dtype=torch.float32)
    bf16, _ = plain_and_saved(spec, "half", dtype=torch.float32, autocast=True)
    assert 0 < noise(plain, half) < noise(plain, bf16)
    assert abs(half[0] - plain[0]) < 2e-3


@pytest.mark.parametrize(("norm", "saving"), [("batch", "maps"), ("batch", "half"), ("instance", "samples")])
def test_under_autocast_it_is_as_near_to_full_precision_as_the_plain_pass(norm, saving):
    spec = replace(SPEC, norm=norm, deep_supervision=1)
    noises, losses = [], []
    for seed in range(5):  # over several draws: of a single one, the noise differs by a quarter with the kernels chosen
        exact, _ = plain_and_saved(spec, saving, dtype=torch.float32, seed=seed)
        plain, saved = plain_and_saved(spec, saving, dtype=torch.float32, autocast=True, seed=seed)
        noises.append([noise(exact, saved), noise(exact, plain)])
        losses.append(abs(saved[0] - exact[0]))
    with_saving, without = torch.tensor(noises).mean(0)
    assert with_saving < 1.1 * without
    assert max(losses) < 5e-3


def test_frozen_weights_get_no_gradient_and_the_others_the_same():
    for frozen in ("layers.0", "layers.1"):  # convolutions, norms
        torch.manual_seed(0)
        plain = build(replace(SPEC, norm="batch")).train()
        for name, parameter in plain.named_parameters():
            parameter.requires_grad_(frozen not in name)
        saved = deepcopy(plain)
        saved.saving = "blocks"
        image = torch.randn(2, 2, 8, 16, 8)
        for network in (plain, saved):
            network(image).square().mean().backward()
        for (name, one), two in zip(plain.named_parameters(), saved.parameters(), strict=True):
            assert (one.grad is None) == (two.grad is None) == (frozen in name)
            if one.grad is not None:
                torch.testing.assert_close(two.grad, one.grad, atol=1e-5, rtol=1e-3)


def test_saving_changes_no_names_and_nothing_outside_training():
    plain = build(SPEC)
    saved = build(SPEC)
    saved.saving = "blocks"
    assert list(saved.state_dict()) == list(plain.state_dict())
    saved.load_state_dict(plain.state_dict())
    image = torch.randn(1, 2, 8, 8, 8)
    assert torch.equal(saved.eval()(image), plain.eval()(image))


def test_the_same_seed_gives_the_same_bits():
    spec = replace(SPEC, norm="batch", dropout=0.3)
    one, two = (plain_and_saved(spec, "blocks", dtype=torch.float32)[1] for _ in "ab")
    assert one[0] == two[0] and all(torch.equal(one[1][name], two[1][name]) for name in one[1])


def test_a_saving_that_is_unknown_or_cannot_be_is_refused():
    network = build(replace(SPEC, norm="batch")).train()
    for saving, words in (("magic", "choose one of none, maps"), ("samples", "couples the samples")):
        network.saving = saving
        with pytest.raises(ValueError, match=words):
            network(torch.randn(2, 2, 8, 8, 8))


def test_savings_go_from_fast_to_small_and_all_have_words():
    for norm in ("batch", "instance", "group", "none"):
        first, *others = savings_for(norm)
        assert first == "none" and all(SAVINGS[name].words for name in others)
