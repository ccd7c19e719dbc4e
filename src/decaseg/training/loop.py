"""The training loop, from the first step to the last, in one sitting.

    batch -> augment -> network -> loss -> step -> average,   now and then: validate, log, checkpoint

Batch n and its augmentation are functions of (seed, n), so a resumed run goes on with the same samples. The
schedule follows progress: the share of the wall clock when the budget is minutes, of the steps otherwise.

Where the model is several networks, they train in turn, one a step.

Several processes may share the batches (`hooks.ranks`): each does its rows, gradients are added up, and what is decided
by a clock or a signal is decided for all; with one process those are what they were.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from decaseg.data.patches import Batch
from decaseg.losses import Loss, deeply_supervised
from decaseg.nets.device import autocast
from decaseg.nets.members import in_turn
from decaseg.training.distributed import ALONE, Ranks
from decaseg.training.events import EventLog
from decaseg.training.optimise import Average, Patience, Plateau
from decaseg.training.warm_start import Anchor

Augment = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]
Validate = Callable[[nn.Module], Mapping[str, float]]
CHECKPOINT_EVERY_S = 120.0
CHECKPOINT_SHARE = 0.01  # of the time goes into checkpoints, unless their interval is given or comes to more than
CHECKPOINT_AT_LEAST_S = 240.0  # this: with a step and the saving itself, five minutes are the most that a kill costs


@dataclass(frozen=True)
class Budget:
    """How long to train: `seconds` of wall clock, or `epochs` of `steps_per_epoch` steps."""

    steps_per_epoch: int
    epochs: int
    seconds: float | None = None

    def progress(self, step: int, elapsed_s: float) -> float:
        """From 0 at the start to 1 at the end."""
        if self.seconds is not None:
            return elapsed_s / max(self.seconds, 1e-9)
        return step / (self.epochs * self.steps_per_epoch)


@dataclass(frozen=True)
class Settings:
    """Plain numbers of the loop; `schedule` gives the share of `lr` at a progress from 0 to 1.

    `checkpoint_every_s` None: as often as costs little.
    """

    lr: float
    schedule: Callable[[float], float]
    budget: Budget
    precision: str
    clip_norm: float | None
    keep: str
    checkpoint_every_s: float | None
    validation_share: float
    validate_every_epoch: bool


@dataclass
class Meter:
    """Sums over the steps since the last log line; `spent_s` is the time of those steps, `wait_s` of it for data."""

    loss: float = 0.0
    steps: int = 0
    samples: int = 0
    wait_s: float = 0.0
    spent_s: float = 0.0


@dataclass
class State:
    """All that changes while training, and all that a checkpoint holds."""

    model: nn.Module
    optimiser: torch.optim.Optimizer
    average: Average | None
    plateau: Plateau | None
    patience: Patience | None = None
    anchor: Anchor | None = None
    step: int = 0
    elapsed_s: float = 0.0
    best_dice: float = -1.0
    best: dict[str, Tensor] | None = None
    validation_s: float = 0.0
    since_validation_s: float = 0.0
    meter: Meter = field(default_factory=Meter)

    def to_save(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": None
            if self.average is None
            else {"values": self.average.values, "updates": self.average.updates},
            "plateau": None if self.plateau is None else self.plateau.state(),
            "patience": None if self.patience is None else self.patience.state(),
            "anchor": None if self.anchor is None else vars(self.anchor),
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "best_dice": self.best_dice,
            "best": self.best,
            "validation_s": self.validation_s,
            "since_validation_s": self.since_validation_s,
            "meter": asdict(self.meter),
            "random": random_states(),
        }

    def load(self, saved: Mapping[str, Any]) -> None:
        """Takes over what `to_save` gave; tensors are copied into place, torch's generators go on from there."""
        self.model.load_state_dict(saved["model"])
        self.optimiser.load_state_dict(saved["optimiser"])
        if self.average is not None and saved["average"] is not None:
            self.average.updates = saved["average"]["updates"]
            for name, value in saved["average"]["values"].items():
                self.average.values[name].copy_(value)
        if self.plateau is not None and saved["plateau"] is not None:
            self.plateau.load(saved["plateau"])
        if self.patience is not None and saved.get("patience") is not None:
            self.patience.load(saved["patience"])
        self.anchor = Anchor(**saved["anchor"]) if saved.get("anchor") else None
        for name in ("step", "elapsed_s", "best_dice", "best", "validation_s", "since_validation_s"):
            setattr(self, name, saved[name])
        self.meter = Meter(**saved.get("meter", {}))
        set_random_states(saved.get("random", {}))

    def weights(self) -> dict[str, Tensor]:
        """The weights to use if training ended here: the best, else those of now."""
        return self.best if self.best is not None else self.now()

    def now(self) -> dict[str, Tensor]:
        """The average, else the last; with the start's share in them."""
        values = self.average.values if self.average is not None else self.model.state_dict()
        return values if self.anchor is None else self.anchor.mixed(values)


def fit(
    state: State,
    batches: Generator[Batch, None, None] | Iterator[Batch],
    truth_of: Callable[[Tensor], Tensor],
    augment: Augment,
    loss_of: Loss,
    settings: Settings,
    device: torch.device,
    hooks: Hooks,
) -> bool:
    """Trains until budget or patience is spent (True) or `hooks.stopping()` says so (False); the state is saved.

    `truth_of` turns label maps (B, X, Y, Z) uint8 into what the loss wants. Raises FloatingPointError when the loss
    or its gradient is no longer finite: weights and checkpoint of before stay.
    """
    before_s, started = state.elapsed_s, time.perf_counter()
    saved_at, save_s = started, 0.0
    budget, ranks = settings.budget, hooks.ranks
    rate = float(state.optimiser.param_groups[0]["lr"])  # to be told where a shorter budget is spent already
    state.model.train()
    while (progress := budget.progress(state.step, state.elapsed_s)) < 1 and not _out_of_patience(state):
        rate = settings.lr * settings.schedule(progress) * (state.plateau.factor if state.plateau else 1.0)
        for group in state.optimiser.param_groups:
            group["lr"] = rate

        began = time.perf_counter()
        batch = next(batches)
        waited_s = time.perf_counter() - began
        image = torch.from_numpy(batch.image).to(device, non_blocking=True)
        label = torch.from_numpy(batch.label).to(device, non_blocking=True)
        image, label = augment(batch.step, image, label)
        image = image.contiguous(memory_format=torch.channels_last_3d)

        loss = _step(state, image, truth_of(label), loss_of, settings, device, ranks)
        state.step += 1
        if state.average is not None:
            state.average.update(state.model)
        state.elapsed_s = ranks.of_first(before_s + time.perf_counter() - started)
        _count(state.meter, loss, len(batch.cases), waited_s, time.perf_counter() - began)
        hooks.on_step(state.step, loss, budget.progress(state.step, state.elapsed_s), state.meter.wait_s)

        if state.step % budget.steps_per_epoch == 0:
            _log_epoch(hooks.log, state, rate, budget)
            if _time_to_validate(state, settings):
                _validate(state, settings, hooks, budget)
                state.elapsed_s = ranks.of_first(before_s + time.perf_counter() - started)
        stopping = ranks.any(hooks.stopping())
        if stopping or _time_to_save(settings, time.perf_counter() - saved_at, save_s):
            saving = time.perf_counter()
            hooks.save(state)
            saved_at = time.perf_counter()
            save_s = saved_at - saving
        if stopping:
            return False
    if state.meter.steps:
        _log_epoch(hooks.log, state, rate, budget)
    hooks.save(state)
    return True


@dataclass(frozen=True)
class Hooks:
    """What the loop calls: a log, a progress line, a validation, a way to save, to be stopped, to share the work."""

    log: EventLog
    on_step: Callable[[int, float, float, float], None]
    validate: Validate | None
    save: Callable[[State], None]
    stopping: Callable[[], bool]
    ranks: Ranks = ALONE


def _step(
    state: State,
    image: Tensor,
    truth: Tensor,
    loss_of: Loss,
    settings: Settings,
    device: torch.device,
    ranks: Ranks,
) -> float:
    """Forward, backward, clip, update; returns the loss. FloatingPointError before the update where it would spoil."""
    net = in_turn(state.model, state.step)
    with autocast(device, settings.precision):
        logits = net(image)
    loss = deeply_supervised(loss_of, logits, truth) if isinstance(logits, list) else loss_of(logits, truth)
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    ranks.add_gradients(net.parameters())
    most = float("inf") if settings.clip_norm is None else settings.clip_norm
    length = torch.nn.utils.clip_grad_norm_(net.parameters(), most)
    value = float(loss.detach())
    for what, number in (("loss", value), ("gradient", float(length))):
        if not math.isfinite(number):
            raise FloatingPointError(
                f"the {what} became {number} at step {state.step}; resume with a lower --lr or --precision fp32"
            )
    state.optimiser.step()
    return value


def _count(meter: Meter, loss: float, samples: int, waited_s: float, spent_s: float) -> None:
    meter.loss += loss
    meter.steps += 1
    meter.samples += samples
    meter.wait_s += waited_s
    meter.spent_s += spent_s


def _log_epoch(log: EventLog, state: State, rate: float, budget: Budget) -> None:
    """Logs the means of the steps since the last line, and begins to count anew."""
    meter, state.meter = state.meter, Meter()
    spent_s = max(meter.spent_s, 1e-9)
    log(
        "epoch",
        epoch=-(-state.step // budget.steps_per_epoch),
        step=state.step,
        elapsed_s=state.elapsed_s,
        train_loss=meter.loss / meter.steps,
        lr=rate,
        samples_per_s=meter.samples / spent_s,
        wait_share=meter.wait_s / spent_s,
    )


def _time_to_save(settings: Settings, since_s: float, save_s: float) -> bool:
    """As often as asked; else every two minutes, or every four at the least where `save_s`, the last one's, is much."""
    if settings.checkpoint_every_s is not None:
        return since_s >= settings.checkpoint_every_s
    return since_s >= min(max(CHECKPOINT_EVERY_S, save_s / CHECKPOINT_SHARE), CHECKPOINT_AT_LEAST_S)


def random_states() -> dict[str, Any]:
    """torch's global generators, which dropout draws from; batches and augmentation need none."""
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []}


def set_random_states(states: Mapping[str, Any]) -> None:
    """Takes over what `random_states` gave, as far as this machine has the devices."""
    if "cpu" in states:
        torch.set_rng_state(states["cpu"])
    if torch.cuda.is_available() and len(states.get("cuda", ())) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])


def _out_of_patience(state: State) -> bool:
    return state.patience is not None and state.patience.over


def _time_to_validate(state: State, settings: Settings) -> bool:
    """Every epoch if asked; else whenever it would keep validation below its share of the time."""
    if settings.validate_every_epoch:
        return True
    return state.validation_s <= settings.validation_share * (state.elapsed_s - state.since_validation_s)


def _validate(state: State, settings: Settings, hooks: Hooks, budget: Budget) -> None:
    if hooks.validate is None:
        return
    started = time.perf_counter()
    training = {name: tensor.clone() for name, tensor in state.model.state_dict().items()}
    state.model.load_state_dict(state.now())
    state.model.eval()
    scores = hooks.validate(state.model)
    mean = sum(scores.values()) / max(len(scores), 1)
    if state.plateau is not None:
        state.plateau.see(mean)
    if state.patience is not None:
        state.patience.see(mean)
    if settings.keep == "best" and mean > state.best_dice:
        state.best = {name: tensor.detach().clone() for name, tensor in state.model.state_dict().items()}
    state.best_dice = max(mean, state.best_dice)
    state.model.load_state_dict(training)
    state.model.train()
    spent = hooks.ranks.of_first(time.perf_counter() - started)
    state.validation_s, state.since_validation_s = spent, state.elapsed_s + spent
    hooks.log(
        "validation",
        epoch=state.step // budget.steps_per_epoch,
        step=state.step,
        elapsed_s=state.elapsed_s + spent,
        mean_dice=mean,
        dice=dict(scores),
    )
