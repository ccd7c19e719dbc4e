import numpy as np
import pytest
import torch
from monai.losses import DiceCELoss, DiceFocalLoss, DiceLoss, FocalLoss, TverskyLoss
from torch.nn.functional import one_hot

from decaseg.losses import LOSSES, LossSettings, deeply_supervised, dice, dice_ce, log_dice, make_loss, shrink


def sample(classes=4, batch=2):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((batch, classes, 5, 6, 7), generator=generator)
    return logits, torch.randint(0, classes, (batch, 5, 6, 7), generator=generator)


def by_hand(probability, member):
    """(structures,) soft Dice with one voxel of smoothing, over the whole batch."""
    both = (probability * member).sum(axis=(0, 2, 3, 4))
    return (2 * both + 1) / (probability.sum(axis=(0, 2, 3, 4)) + member.sum(axis=(0, 2, 3, 4)) + 1)


def test_softmax_dice_is_what_one_computes_by_hand():
    logits, truth = sample()
    shares = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(axis=1, keepdims=True)
    expected = by_hand(shares[:, 1:], np.stack([truth.numpy() == k for k in (1, 2, 3)], axis=1))
    assert float(dice(logits, truth)) == pytest.approx(1 - expected.mean(), abs=1e-5)
    assert float(log_dice(logits, truth)) == pytest.approx(-np.log(expected).mean(), abs=1e-5)


def test_sigmoid_dice_is_what_one_computes_by_hand():
    logits, _ = sample(3)
    member = (torch.rand((2, 3, 5, 6, 7), generator=torch.Generator().manual_seed(1)) > 0.7).float()
    expected = by_hand(1 / (1 + np.exp(-logits.numpy())), member.numpy())
    assert float(dice(logits, member)) == pytest.approx(1 - expected.mean(), abs=1e-5)
    assert float(log_dice(logits, member)) == pytest.approx(-np.log(expected).mean(), abs=1e-5)


def test_dice_ce_is_monais_where_definitions_agree():
    logits, truth = sample()
    monai = DiceCELoss(include_background=False, softmax=True, to_onehot_y=True, batch=True, smooth_nr=1, smooth_dr=1)
    both = DiceCELoss(include_background=True, softmax=True, to_onehot_y=True, batch=True, smooth_nr=1, smooth_dr=1)
    entropy = both.ce(logits, truth[:, None].long())
    expected = monai.dice(logits, truth[:, None]) + entropy
    assert float(dice_ce(logits, truth)) == pytest.approx(float(expected), abs=1e-5)


def test_overlapping_dice_ce_is_monais_too():
    logits, _ = sample(3)
    member = (torch.rand((2, 3, 5, 6, 7), generator=torch.Generator().manual_seed(1)) > 0.7).float()
    monai = DiceCELoss(sigmoid=True, batch=True, smooth_nr=1, smooth_dr=1)
    entropy = torch.nn.BCEWithLogitsLoss()(logits, member)
    assert float(dice_ce(logits, member)) == pytest.approx(float(monai.dice(logits, member) + entropy), abs=1e-5)


@pytest.mark.parametrize("loss", LOSSES.values())
def test_perfect_is_0_and_wrong_is_more(loss):
    _, truth = sample()
    perfect = one_hot(truth, 4).permute(0, 4, 1, 2, 3).float() * 60 - 30
    assert float(loss(perfect, truth)) == pytest.approx(0, abs=1e-4)
    assert float(loss(perfect, (truth + 1) % 4)) > 0.8


@pytest.mark.parametrize("loss", LOSSES.values())
def test_an_absent_structure_and_bf16_stay_finite(loss):
    logits, truth = sample()
    logits = (logits * 50).to(torch.bfloat16).requires_grad_()
    value = loss(logits, torch.zeros_like(truth))
    value.backward()
    assert value.dtype == torch.float32 and value.isfinite() and logits.grad.isfinite().all()


def overlapping(structures=3):
    logits, _ = sample(structures)
    return logits, (torch.rand(logits.shape, generator=torch.Generator().manual_seed(1)) > 0.7).float()


@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("beta", [0.3, 0.5, 0.8])
def test_tversky_is_monais(batch, beta):
    ours = make_loss("tversky", LossSettings(batch_dice=batch, tversky_beta=beta))
    monais = {"alpha": 1 - beta, "beta": beta, "smooth_nr": 1, "smooth_dr": 1, "batch": batch}
    logits, truth = sample()
    softmax = TverskyLoss(include_background=False, softmax=True, to_onehot_y=True, **monais)
    assert float(ours(logits, truth)) == pytest.approx(float(softmax(logits, truth[:, None])), abs=1e-5)
    logits, member = overlapping()
    assert float(ours(logits, member)) == pytest.approx(
        float(TverskyLoss(sigmoid=True, **monais)(logits, member)), abs=1e-5
    )


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 4.0])
def test_focal_is_monais(gamma):
    ours = make_loss("focal", LossSettings(focal_gamma=gamma))
    logits, truth = sample()
    monai = FocalLoss(gamma=gamma, use_softmax=True, to_onehot_y=True)(logits, truth[:, None])
    assert float(ours(logits, truth)) == pytest.approx(4 * float(monai), abs=1e-5)  # MONAI divides by the 4 classes too
    logits, member = overlapping()
    assert float(ours(logits, member)) == pytest.approx(float(FocalLoss(gamma=gamma)(logits, member)), abs=1e-5)


def test_focal_without_focus_is_cross_entropy():
    logits, truth = sample()
    assert float(make_loss("focal", LossSettings(focal_gamma=0))(logits, truth)) == pytest.approx(
        float(torch.nn.functional.cross_entropy(logits, truth)), abs=1e-6
    )


def test_dice_focal_is_monais():
    logits, member = overlapping()
    monai = DiceFocalLoss(sigmoid=True, batch=True, smooth_nr=1, smooth_dr=1, gamma=2.0)
    assert float(make_loss("dice_focal")(logits, member)) == pytest.approx(float(monai(logits, member)), abs=1e-5)


@pytest.mark.parametrize("name", ["dice", "dice_ce"])
def test_patch_by_patch_dice_is_monais_and_not_the_batchs(name):
    logits, truth = sample()
    logits[0, 2] += 4  # patches that differ
    one = make_loss(name, LossSettings(batch_dice=False))
    monai = DiceLoss(include_background=False, softmax=True, to_onehot_y=True, batch=False, smooth_nr=1, smooth_dr=1)
    entropy = torch.nn.functional.cross_entropy(logits, truth) if name == "dice_ce" else 0
    expected = float(monai(logits, truth[:, None]) + entropy)
    assert float(one(logits, truth)) == pytest.approx(expected, abs=1e-5)
    assert abs(float(make_loss(name)(logits, truth)) - expected) > 1e-4


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_topk_is_the_mean_of_the_worst_voxels(share):
    logits, truth = sample()
    logarithms = torch.log_softmax(logits, dim=1).gather(1, truth[:, None]).numpy().reshape(-1)
    worst = np.sort(-logarithms)[::-1][: int(logarithms.size * share)]
    ours = make_loss("topk", LossSettings(topk_share=share))
    assert float(ours(logits, truth)) == pytest.approx(worst.mean(), abs=1e-5)
    both = make_loss("dice_topk", LossSettings(topk_share=share))
    assert float(both(logits, truth)) == pytest.approx(worst.mean() + float(dice(logits, truth)), abs=1e-5)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_has_a_finite_slope_where_all_is_right(gamma):
    _, truth = sample()
    logits = (one_hot(truth, 4).permute(0, 4, 1, 2, 3).float() * 200 - 100).requires_grad_()
    make_loss("focal", LossSettings(focal_gamma=gamma))(logits, truth).backward()
    assert logits.grad.isfinite().all()


def test_levels_are_weighted_by_halves_that_sum_to_1():
    logits, truth = sample()
    levels = [logits, logits[..., :3, :3, :3], logits[..., :2, :2, :2]]
    expected = sum(w * dice(level, shrink(truth, level.shape[2:])) for w, level in zip((4, 2, 1), levels, strict=True))
    assert float(deeply_supervised(dice, levels, truth)) == pytest.approx(float(expected) / 7, abs=1e-6)


def test_shrinking_keeps_labels_and_takes_the_nearest_voxel():
    truth = torch.arange(4 * 4 * 4).reshape(1, 4, 4, 4).to(torch.uint8)
    small = shrink(truth, (2, 2, 2))
    assert small.dtype == torch.uint8 and torch.equal(small, truth[:, 1::2, 1::2, 1::2])
    members = torch.stack([truth, truth], dim=1)
    assert torch.equal(shrink(members, (2, 2, 2))[:, 1], small)
    assert shrink(truth, (4, 4, 4)) is truth


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("overlapping", [False, True])
def test_what_is_ignored_changes_no_loss_and_gets_no_gradient(name, overlapping):
    """The loss of a batch whose second half is ignored is that of its first half alone, whatever stands there."""
    logits, truth = sample(3)
    if overlapping:
        truth = (torch.rand((2, 3, 5, 6, 7), generator=torch.Generator().manual_seed(1)) > 0.7).float()
    masked = truth.clone()
    masked[1] = -1 if overlapping else 255
    logits.requires_grad_()
    loss = make_loss(name, LossSettings(masked=True))(logits, masked)
    loss.backward()
    alone = make_loss(name)(logits[:1], truth[:1])
    assert float(loss) == pytest.approx(float(alone), rel=1e-5)
    assert torch.count_nonzero(logits.grad[1]) == 0 and torch.count_nonzero(logits.grad[0]) > 0


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_in_which_everything_is_ignored_teaches_nothing(name):
    logits, truth = sample(3)
    logits.requires_grad_()
    make_loss(name, LossSettings(masked=True))(logits, torch.full_like(truth, 255)).backward()
    assert torch.count_nonzero(logits.grad) == 0
