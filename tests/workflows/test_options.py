"""Every choice reaches what it names: the loop is replaced by one that only looks at what it is given."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from decaseg.cli import call
from decaseg.nets.device import choose_precision
from decaseg.nets.members import members_of
from decaseg.nets.residual import ResidualBlock
from decaseg.training.optimise import cosine, one_cycle, poly
from decaseg.workflows import fitting
from tests.synthetic import write_dataset

SMALL = ["--threads", "1", "--device", "cpu", "--base-filters", "4", "--patch", "8", "8", "8"]
OTHER = "fp32" if choose_precision("auto", torch.device("cpu")) == "bf16" else "bf16"  # what auto is not, here
PLAIN: list[SimpleNamespace] = []


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("options")
    return write_dataset(root / "data", cases=5, shape=(16, 16, 16), channels=("T1", "T2"))


@pytest.fixture
def given(data, tmp_path, monkeypatch):
    """A function from words of `train` to what the loop is given; without words it looks once."""

    def look(*words):
        if not words and PLAIN:
            return PLAIN[0]
        seen = {}

        def fit(state, batches, truth_of, augment, loss_of, settings, device, hooks):
            seen.update(state=state, batch=next(batches), augment=augment, loss=loss_of, settings=settings)
            return True

        monkeypatch.setattr(fitting, "fit", fit)
        run = tmp_path / str(len(list(tmp_path.iterdir())))
        assert call(["train", f"{data}", "--out", f"{run}", *SMALL, *words]) == 0
        found = SimpleNamespace(**seen, modules=list(seen["state"].model.modules()), run=run)
        if not words:
            PLAIN.append(found)
        return found

    return look


def kinds(found, *classes):
    return sum(isinstance(module, classes) for module in found.modules)


def widest(found):
    return max(m.out_channels for m in found.modules if isinstance(m, nn.Conv3d))


def rates(schedule):
    return [schedule(i / 20) for i in range(21)]


NETWORK = {
    "norm=batch": lambda f: kinds(f, nn.BatchNorm3d) > 0 and kinds(f, nn.InstanceNorm3d) == 0,
    "members=2": lambda f: len(members_of(f.state.model)) == 2,
    "norm=group": lambda f: kinds(f, nn.GroupNorm) > 0 and kinds(f, nn.InstanceNorm3d) == 0,
    "norm=none": lambda f: kinds(f, nn.InstanceNorm3d, nn.BatchNorm3d, nn.GroupNorm) == 0,
    "nonlinearity=relu": lambda f: kinds(f, nn.ReLU) > 0 and kinds(f, nn.LeakyReLU) == 0,
    "downsample=maxpool": lambda f: kinds(f, nn.MaxPool3d) == 1,
    "dropout=0.25": lambda f: {m.p for m in f.modules if isinstance(m, nn.Dropout3d)} == {0.25},
    "convs=3": lambda f: kinds(f, nn.Conv3d) == 3 * 3 + 1,
    "decoder_convs=1": lambda f: kinds(f, nn.Conv3d) == 2 * 2 + 1 + 1,
    "residual=true": lambda f: kinds(f, ResidualBlock) == 1 + 3,
    "residual=true blocks=2,1": lambda f: kinds(f, ResidualBlock) == 2 + 1,
    "base_filters=6": lambda f: widest(f) == 12,
    "max_filters=5": lambda f: widest(f) == 5,
    "base_filters=6 finest_filters=3": lambda f: (widest(f), f.modules[-1].in_channels) == (12, 3),
    "max_levels=1": lambda f: kinds(f, nn.ConvTranspose3d) == 0,
    "channels=T2": lambda f: f.batch.image.shape[1] == 1,
    "target=whole": lambda f: f.modules[-1].out_channels == 1,
}
TRAINING = {
    "optimiser=sgd": lambda f: isinstance(f.state.optimiser, torch.optim.SGD),
    "optimiser=adam": lambda f: type(f.state.optimiser) is torch.optim.Adam,
    "weight_decay=0.5": lambda f: f.state.optimiser.param_groups[0]["weight_decay"] == 0.5,
    "lr=0.25": lambda f: f.settings.lr == 0.25,
    "schedule=poly": lambda f: rates(f.settings.schedule) == rates(poly),
    "schedule=cosine": lambda f: rates(f.settings.schedule) == rates(cosine),
    "lr_end=0.3": lambda f: rates(f.settings.schedule) == [one_cycle(i / 20, 0.3) for i in range(21)],
    "schedule=plateau": lambda f: f.state.plateau is not None and f.state.plateau.patience == 10,
    "schedule=plateau plateau_patience=3": lambda f: f.state.plateau.patience == 3,
    "patience=4 min_delta=0.1": lambda f: (f.state.patience.patience, f.state.patience.min_delta) == (4, 0.1),
    "clip_norm=none": lambda f: f.settings.clip_norm is None,
    "average_decay=none": lambda f: f.state.average is None,
    "average_decay=0.5": lambda f: f.state.average.decay == 0.5,
    "keep=best": lambda f: f.settings.keep == "best",
    "epochs=7 steps_per_epoch=3": lambda f: (f.settings.budget.epochs, f.settings.budget.steps_per_epoch) == (7, 3),
    "minutes=5": lambda f: 200 < f.settings.budget.seconds <= 300,
    "batch_size=3": lambda f: len(f.batch.image) == 3,
    f"precision={OTHER}": lambda f: f.settings.precision == OTHER,
    "mirror=none": lambda f: f.augment.spatial.mirror_axes == (),
    "mirror=all": lambda f: f.augment.spatial.mirror_axes == (0, 1, 2),
    "rotation_deg=5": lambda f: f.augment.spatial.rotation_deg == 5,
    "elastic_share=0.5": lambda f: f.augment.spatial.elastic_share == 0.5,
    "intensity=false": lambda f: f.augment.intensity is None,
    "validation_share=0.5": lambda f: f.settings.validation_share == 0.5,
}  # fmt: skip


@pytest.mark.parametrize("settings", [*NETWORK, *TRAINING])
def test_a_setting_does_what_it_says_and_nothing_without_it(given, settings):
    holds = (NETWORK | TRAINING)[settings]
    assert holds(given("--set", *settings.split()))
    if settings not in ("mirror=all",):  # what the data of this test ask for anyway
        assert not _holds(holds, given())


def _holds(holds, found):
    try:
        return holds(found)
    except (AttributeError, TypeError):  # of None: what is off by default
        return False


LOSSES = [
    "ce", "dice", "log_dice", "tversky", "tversky tversky_beta=0.3", "focal", "focal focal_gamma=1", "dice_focal",
    "topk", "topk topk_share=0.5", "dice_topk", "dice_ce", "dice_ce batch_dice=false",
]  # fmt: skip


def test_every_loss_and_its_numbers_are_another_loss(given):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((2, 3, 6, 6, 6), generator=generator)
    truth = torch.randint(0, 3, (2, 6, 6, 6), generator=generator)
    truth[0] = 0  # patches that differ, so that it matters whether Dice is the batch's
    values = [round(float(given("--set", f"loss={name.split()[0]}", *name.split()[1:]).loss(logits, truth)), 6)
              for name in LOSSES]  # fmt: skip
    assert len(set(values)) == len(values)


def test_folds_and_seeds_choose_other_cases(given):
    import json

    def validating(*words):
        return tuple(json.loads((given(*words).run / "splits.json").read_text())["val"])

    folds = [validating("--fold", str(fold)) for fold in range(5)]
    assert sorted(case for fold in folds for case in fold) == [f"case_{i:03d}" for i in range(5)]
    assert len({validating("--seed", str(seed)) for seed in range(6)}) > 1
    assert len(validating("--val-fraction", "0.4")) == 2


def test_patience_is_told_wherever_scores_are(given):
    import json

    words = {"--patience 3": "decided when to stop", "--set schedule=plateau": "steered the learning rate",
             "--set keep=best": "chose the checkpoint", "--seed 0": "chose nothing"}  # fmt: skip
    for option, said in words.items():
        made = json.loads((given(*option.split()).run / "provenance.json").read_text())
        assert said in made["selection"]
