"""Where recipe, plan, cases and RUN become the plain numbers and functions that the training loop takes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from decaseg.data.augment.intensity import Intensity
from decaseg.data.augment.pipeline import Augmentation
from decaseg.data.augment.spatial import Spatial
from decaseg.data.cases import TrainingCase
from decaseg.data.patches import PatchSampler, read_ahead
from decaseg.inference.windows import slide
from decaseg.losses import LossSettings, make_loss
from decaseg.nets.shared_norm import share_batch_norms
from decaseg.nets.unet import build
from decaseg.planning.plan import Plan
from decaseg.recipes import Recipe
from decaseg.reporting.validation_picture import draw_validation
from decaseg.storage.rundir import RunDir
from decaseg.training.checkpoint import Saver
from decaseg.training.distributed import Ranks
from decaseg.training.events import EventLog
from decaseg.training.loop import Budget, Hooks, Settings, State, fit
from decaseg.training.monitor import TensorBoard, TrainingLine
from decaseg.training.optimise import SCHEDULES, Average, Patience, Plateau, make_optimiser
from decaseg.training.targets import truth_for_loss
from decaseg.training.validate import Masks, make_validation


@dataclass(frozen=True)
class Run:
    """One training: its folder, what it was told, and the machine's part that does it."""

    folder: RunDir
    plan: Plan
    recipe: Recipe
    device: torch.device
    precision: str
    ranks: Ranks
    seed: int  # of patches and their augmentation


@dataclass(frozen=True)
class Cases:
    """Cases to train on, and those validation cases that are looked at while training."""

    training: list[TrainingCase]
    validation: list[TrainingCase]


def budget_of(recipe: Recipe, plan: Plan, cases: int, spent_s: float) -> Budget:
    """`--minutes` counts from the start of the command, so that it ends when the user was told."""
    steps = recipe.steps_per_epoch or max(1, -(-cases // plan.batch_size))
    seconds = None if recipe.minutes is None else max(recipe.minutes * 60 - spent_s, 1.0)
    return Budget(steps, recipe.epochs, seconds)


def new_state(plan: Plan, recipe: Recipe, device: torch.device, ranks: Ranks) -> State:
    """A network with fresh weights, and what trains it; the same on all ranks."""
    torch.manual_seed(recipe.seed)
    network = build(plan.network)
    network.saving = plan.saving
    model: nn.Module = network.to(device)
    ranks.same(model)
    if ranks.size > 1:
        share_batch_norms(model, ranks.add)
    model = model.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return State(
        model,
        make_optimiser(recipe.optimiser, model, recipe.lr, recipe.weight_decay),
        Average(model, recipe.average_decay) if recipe.average_decay is not None else None,
        Plateau(recipe.plateau_patience) if recipe.schedule == "plateau" else None,
        Patience(recipe.patience, recipe.min_delta) if recipe.patience is not None else None,
    )


@dataclass(frozen=True)
class Watch:
    """What looks at a training: the RUN's log, and the progress line and TensorBoard that listen to it."""

    log: EventLog
    line: TrainingLine
    board: TensorBoard | None = None

    def close(self) -> None:
        self.line.close()
        self.log.close()


def open_watch(folder: RunDir, budget: Budget, ranks: Ranks) -> Watch:
    """The log and its listeners; ranks but the first write into nothing."""
    line = TrainingLine(budget)
    if not ranks.first:
        return Watch(EventLog(Path(os.devnull)), line)
    board = TensorBoard(folder.tensorboard)
    return Watch(EventLog(folder.log, line.on_event, board), line, board)


def fit_run(
    run: Run,
    state: State,
    cases: Cases,
    budget: Budget,
    watch: Watch,
    stopping: Callable[[], bool],
) -> bool:
    """Trains until the budget is spent (True) or somebody asked to stop (False); checkpoints go into the RUN."""
    folder, plan, recipe, device, ranks = run.folder, run.plan, run.recipe, run.device, run.ranks
    rows = ranks.rows(plan.batch_size)
    augment = _augmentation(run, rows, len(cases.training))
    sampler = PatchSampler(
        _without_ignored(cases.training, plan.target.ignored),
        augment.source_shape,
        plan.batch_size,
        recipe.foreground_share,
        run.seed,
        rows,
        kept=plan.patch,
    )
    ranks.own_randomness(recipe.seed, state.step)
    settings = Settings(
        lr=recipe.lr,
        schedule=lambda progress: SCHEDULES[recipe.schedule](progress, recipe.lr_end),
        budget=budget,
        precision=run.precision,
        clip_norm=recipe.clip_norm,
        keep=recipe.keep,
        checkpoint_every_s=None if recipe.checkpoint_minutes is None else 60 * recipe.checkpoint_minutes,
        validation_share=recipe.validation_share,
        validate_every_epoch=recipe.deterministic,
    )

    def show(case: TrainingCase, truth: Masks, found: Masks) -> None:
        if watch.board is not None and watch.board.writes:
            image = np.asarray(case.image[0], dtype=np.float32)
            drawn = draw_validation(image, truth, found, plan.target.names, plan.preprocessing.spacing_mm)
            watch.board.show(state.step, case.case, drawn)

    saver = Saver(folder.checkpoint, folder.previous_checkpoint, watch.log)
    validate = None
    if cases.validation:
        validate = make_validation(cases.validation, plan.target, plan.patch, device, run.precision, slide, ranks, show)
    hooks = Hooks(
        log=watch.log,
        on_step=watch.line.on_step,
        validate=validate,
        save=lambda now: saver(now.step, now.elapsed_s, now.to_save()) if ranks.first else None,
        stopping=stopping,
        ranks=ranks,
    )
    numbers = LossSettings(recipe.batch_dice, recipe.tversky_beta, recipe.focal_gamma, recipe.topk_share,
                           masked=plan.target.ignored is not None)  # fmt: skip
    loss = make_loss(recipe.loss, numbers, ranks.whole(plan.batch_size))
    # Where memory is short, steps are slow: one batch is there in time.
    batches = read_ahead(sampler, state.step, 3 if plan.saving == "none" else 1)
    try:
        done = fit(state, batches, truth_for_loss(plan.target, device), augment, loss, settings, device, hooks)
    finally:
        batches.close()
    if not done:
        ranks.lead(lambda: saver.insist(state.step))
    return done


def _without_ignored(cases: list[TrainingCase], ignored: int | None) -> list[TrainingCase]:
    """Cases in whose voxels of that value no patch is centred, since nothing is learnt there."""
    if ignored is None:
        return cases
    return [replace(case, places={v: p for v, p in case.places.items() if v != ignored}) for case in cases]


def _augmentation(run: Run, rows: slice, cases: int) -> Augmentation:
    plan, recipe = run.plan, run.recipe
    spatial = Spatial(
        rotation_deg=recipe.rotation_deg,
        rotation_share=recipe.rotation_share,
        scale=(recipe.scale_low, recipe.scale_high),
        scale_share=recipe.scale_share,
        mirror_axes=plan.mirror_axes,
        right_angles=recipe.right_angles,
        elastic_share=recipe.elastic_share,
        elastic_strength=recipe.elastic_strength,
        elastic_cells=recipe.elastic_cells,
        smooth_labels=recipe.smooth_labels,
        flat_axis=plan.flat_axis,
    )
    intensity = Intensity().times(recipe.intensity_strength) if recipe.intensity else None
    ramp_steps = round(recipe.augment_ramp * plan.network.members * cases / plan.batch_size)
    return Augmentation(plan.patch, spatial, intensity, run.seed, plan.batch_size, rows, ramp_steps)
