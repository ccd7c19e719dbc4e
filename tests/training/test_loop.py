import json
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from decaseg.data.augment.intensity import Intensity
from decaseg.data.augment.pipeline import Augmentation
from decaseg.data.augment.spatial import Spatial
from decaseg.data.cases import TrainingCase
from decaseg.data.patches import PatchSampler, read_ahead
from decaseg.data.targets import make_target
from decaseg.losses import dice_ce
from decaseg.nets.spec import NetworkSpec
from decaseg.nets.unet import build
from decaseg.training.checkpoint import load_checkpoint, save_checkpoint
from decaseg.training.events import EventLog
from decaseg.training.loop import Budget, Hooks, Settings, State, _time_to_save, fit
from decaseg.training.optimise import Average, Patience, Plateau, make_optimiser, one_cycle
from decaseg.training.targets import truth_for_loss
from decaseg.training.warm_start import Anchor
from tests.synthetic import blobs

SPEC = NetworkSpec(1, 3, (4, 8), ((1, 1, 1), (2, 2, 2)), ((3, 3, 3),) * 2)
CPU = torch.device("cpu")


def cases(count=3):
    rng = np.random.default_rng(0)
    for number in range(count):
        image, label = blobs((18, 18, 18), rng)
        image = ((image - image.mean()) / image.std()).astype(np.float16)
        places = {v: np.argwhere(label == v).astype(np.int32) for v in (1, 2)}
        yield TrainingCase(str(number), image, label, places)


def new_state(members=1):
    torch.manual_seed(0)
    model = build(replace(SPEC, members=members)).to(memory_format=torch.channels_last_3d)
    return State(model, make_optimiser("adamw", model, 0.01, 0.01), Average(model, 0.9), Plateau(2))


def train(state, folder, stop_at=None, steps=20, loss=dice_ce, keep="last", epochs=2, clip_norm=12.0):
    """Trains in 2 epochs; validation is a number that falls from epoch to epoch; returns fit's answer and events."""
    augment = Augmentation((12, 12, 12), Spatial(rotation_share=0.5), Intensity(), 0)
    settings = Settings(0.01, one_cycle, Budget(steps // epochs, epochs), "fp32", clip_norm, keep, 1e9, 0.1, True)
    folder.mkdir(parents=True, exist_ok=True)
    log = EventLog(folder / "log.jsonl")
    hooks = Hooks(
        log,
        lambda *_: None,
        lambda model: {"a": 1 / (1 + state.step)},
        lambda now: save_checkpoint(folder / "last.pt", folder / "previous.pt", now.to_save()),
        lambda: stop_at is not None and state.step >= stop_at,
    )
    batches = read_ahead(
        PatchSampler(list(cases()), augment.source_shape, 2, 0.5, 0, kept=augment.patch), state.step, 2
    )
    try:
        done = fit(state, batches, truth_for_loss(make_target("all", {1: "a", 2: "b"}), CPU), augment, loss, settings,
                   CPU, hooks)  # fmt: skip
    finally:
        batches.close()
        log.close()
    return done, [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(before)


def test_a_budget_that_was_spent_before_it_was_cut_ends_the_epoch_that_was_begun(tmp_path):
    state = new_state()
    assert not train(state, tmp_path, stop_at=13)[0]
    done, events = train(state, tmp_path, steps=10, epochs=1)
    ends = [event for event in events if event["event"] == "epoch"]
    assert done and state.step == 13 and len(ends) == 2 and 0 < ends[-1]["lr"] <= 0.01


def test_the_loss_falls_and_the_log_tells_it(tmp_path):
    done, events = train(new_state(), tmp_path, steps=40)
    assert done
    losses = [e["train_loss"] for e in events if e["event"] == "epoch"]
    assert len(losses) == 2 and losses[1] < 0.8 * losses[0]
    assert [e["step"] for e in events if e["event"] == "validation"] == [20, 40]


@pytest.mark.parametrize(("stop_at", "members"), [(7, 1), (10, 1), (7, 3)])
def test_stopping_saving_and_resuming_is_bit_equal_to_going_through(tmp_path, stop_at, members):
    whole = new_state(members)
    assert train(whole, tmp_path / "whole")[0]
    first = new_state(members)
    assert train(first, tmp_path / "parts", stop_at)[0] is False and first.step == stop_at
    second = new_state(members)
    second.load(load_checkpoint(tmp_path / "parts" / "last.pt", tmp_path / "parts" / "previous.pt"))
    assert second.step == stop_at and train(second, tmp_path / "parts")[0]
    assert second.step == whole.step == 20 and second.plateau.state() == whole.plateau.state()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(second.model.state_dict()[name], value), name
        assert torch.equal(second.average.values[name], whole.average.values[name]), name


def test_of_three_members_a_step_trains_one_and_the_others_rest(tmp_path):
    state, before = new_state(members=3), new_state(members=3)
    train(state, tmp_path, stop_at=2)  # the first two have had a step each
    for values, untouched in (
        (state.model.state_dict(), before.model.state_dict()),
        (state.average.values, before.average.values),
    ):
        moved = {name.split(".")[1] for name, value in values.items() if not torch.equal(value, untouched[name])}
        assert moved == {"0", "1"}
    alone = new_state()  # the same first weights and batch: member 0 did what a network by itself does
    train(alone, tmp_path / "alone", stop_at=1)
    for name, value in alone.model.state_dict().items():
        assert torch.equal(state.model.state_dict()[f"nets.0.{name}"], value), name
        assert torch.equal(state.average.values[f"nets.0.{name}"], alone.average.values[name]), name


def test_keep_best_keeps_the_weights_of_the_best_validation(tmp_path):
    state = new_state()
    train(state, tmp_path / "all", keep="best")  # validation falls, so the first one is the best
    early = new_state()
    train(early, tmp_path / "early", stop_at=10)
    for name, value in state.weights().items():
        assert torch.equal(value, early.average.values[name]), name


def test_the_start_keeps_its_share_of_the_weights_through_a_checkpoint_and_in_validation(tmp_path):
    plain, state, second = new_state(), new_state(), new_state()
    start = {name: torch.full_like(value, 2.0) for name, value in state.model.state_dict().items()}
    untouched = start.popitem()[0]
    state.anchor = Anchor(start, 0.25)
    train(plain, tmp_path / "plain")
    train(state, tmp_path / "part", stop_at=7)
    second.load(load_checkpoint(tmp_path / "part" / "last.pt", tmp_path / "part" / "previous.pt"))
    train(second, tmp_path / "part")
    for name, value in second.weights().items():
        assert torch.equal(second.average.values[name], plain.average.values[name]), name  # it steers no step
        share = 0.25 if name in start and value.is_floating_point() else 0.0
        assert torch.allclose(value, (1 - share) * plain.average.values[name] + share * 2.0), name
    assert torch.equal(second.weights()[untouched], plain.average.values[untouched])


def test_a_loss_that_is_not_finite_stops_before_it_is_saved(tmp_path):
    state = new_state()
    train(state, tmp_path, stop_at=3)
    with pytest.raises(FloatingPointError, match="at step 3"):
        train(state, tmp_path, loss=lambda *_: torch.tensor(float("nan"), requires_grad=True))
    assert load_checkpoint(tmp_path / "last.pt", tmp_path / "previous.pt")["step"] == 3


@pytest.mark.parametrize("clip_norm", [12.0, None])
def test_a_gradient_that_is_not_finite_changes_no_weight(tmp_path, clip_norm):
    def finite_with_a_gradient_that_is_not(logits, truth):
        zero = logits.mean() * 0
        return dice_ce(logits, truth) + zero.abs().sqrt()  # the root's slope at 0 is infinite

    state = new_state()
    before = {name: value.clone() for name, value in state.model.state_dict().items()}
    with pytest.raises(FloatingPointError, match="gradient became nan at step 0"):
        train(state, tmp_path, loss=finite_with_a_gradient_that_is_not, clip_norm=clip_norm)
    assert all(torch.equal(value, before[name]) for name, value in state.model.state_dict().items())


def test_patience_ends_the_training_and_the_end_survives_resuming(tmp_path):
    state = new_state()
    state.patience = Patience(1, 0.0)
    done, events = train(state, tmp_path, steps=60, epochs=6)  # validation falls, so the second one ends it
    assert done and state.patience.over
    assert [e["step"] for e in events if e["event"] == "validation"] == [10, 20] and state.step == 20
    again = new_state()
    again.patience = Patience(1, 0.0)
    again.load(load_checkpoint(tmp_path / "last.pt", tmp_path / "previous.pt"))
    assert train(again, tmp_path, steps=60, epochs=6)[0] and again.step == 20


@pytest.mark.parametrize(
    ("asked_s", "save_s", "due_after_s"),
    [(None, 0.1, 120), (None, 1.8, 180), (None, 5.0, 240), (3.0, 5.0, 3), (0.0, 1.0, 0), (600.0, 1.0, 600)],
)
def test_checkpoints_come_as_often_as_asked_or_cost_a_hundredth_but_every_four_minutes(asked_s, save_s, due_after_s):
    settings = Settings(0.01, one_cycle, Budget(1, 1), "fp32", None, "last", asked_s, 0.1, True)
    assert _time_to_save(settings, due_after_s, save_s)
    assert due_after_s == 0 or not _time_to_save(settings, due_after_s - 0.1, save_s)


def test_the_share_of_time_that_waits_for_data_is_told(tmp_path, monkeypatch):
    real = PatchSampler.batch
    monkeypatch.setattr(PatchSampler, "batch", lambda self, step: (time.sleep(0.6), real(self, step))[1])
    _, events = train(new_state(), tmp_path, steps=4)
    epochs = [e for e in events if e["event"] == "epoch"]
    for epoch in epochs:  # a batch takes 0.6 s to come, so two a step: the time is told once and is most of it
        assert 0.3 < epoch["wait_share"] < 1 and 2 / epoch["samples_per_s"] > 0.5
    monkeypatch.setattr(PatchSampler, "batch", real)
    _, events = train(new_state(), tmp_path / "fast", steps=10)
    assert events[0]["wait_share"] < epochs[0]["wait_share"] / 2


def test_the_means_of_an_epoch_survive_a_stop_inside_it(tmp_path):
    _, whole = train(new_state(), tmp_path / "whole")
    first, second = new_state(), new_state()
    train(first, tmp_path / "parts", stop_at=7)
    second.load(load_checkpoint(tmp_path / "parts" / "last.pt", tmp_path / "parts" / "previous.pt"))
    _, parts = train(second, tmp_path / "parts")
    told = [[(e["step"], e["train_loss"]) for e in events if e["event"] == "epoch"] for events in (whole, parts)]
    assert told[0] == told[1] and len(told[0]) == 2
