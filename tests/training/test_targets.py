"""Label maps as the losses get them."""

import torch

from decaseg.data.targets import IGNORED, make_target
from decaseg.losses import IGNORED as IGNORED_BY_LOSSES
from decaseg.losses import deeply_supervised, make_loss, shrink
from decaseg.storage.dataset import Region
from decaseg.training.targets import truth_for_loss

LABEL = torch.tensor([0, 1, 2, 3, 4, 4, 0, 1], dtype=torch.uint8).reshape(1, 2, 2, 2)
CPU = torch.device("cpu")


def test_ignored_voxels_have_the_losses_class_or_membership():
    assert IGNORED == IGNORED_BY_LOSSES
    truth = truth_for_loss(make_target("all", {1: "a", 2: "b", 3: "c"}, ignored=4), CPU)(LABEL)
    assert truth.ravel().tolist() == [0, 1, 2, 3, IGNORED, IGNORED, 0, 1]
    regions = Region("whole", (1, 2, 3), 1), Region("core", (2, 3), 2)
    member = truth_for_loss(make_target("all", {1: "a"}, regions, 4), CPU)(LABEL)
    assert member[0, 0].ravel().tolist() == [0, 1, 1, 1, -1, -1, 0, 1]
    assert member[0, 1].ravel().tolist() == [0, 0, 1, 1, -1, -1, 0, 0]


def test_they_stay_ignored_on_coarser_grids():
    truth = torch.full((1, 4, 4, 4), 255, dtype=torch.uint8)
    assert shrink(truth, (2, 2, 2)).unique().tolist() == [255]
    assert shrink(-torch.ones(1, 2, 4, 4, 4), (2, 2, 2)).unique().tolist() == [-1]
    logits = [torch.randn(1, 3, 4, 4, 4, requires_grad=True), torch.randn(1, 3, 2, 2, 2, requires_grad=True)]
    from decaseg.losses import LossSettings

    deeply_supervised(make_loss("dice_ce", LossSettings(masked=True)), logits, truth).backward()
    assert all(not level.grad.any() for level in logits)
