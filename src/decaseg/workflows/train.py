"""`decaseg train`: from a data set to a RUN."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import torch
from torch import nn

from decaseg.data.augment.intensity import Intensity
from decaseg.data.augment.pipeline import Augmentation
from decaseg.data.augment.spatial import Spatial
from decaseg.data.cases import TrainingCase, prepare_cases
from decaseg.data.patches import PatchSampler, read_ahead
from decaseg.data.splits import Split, split_by_fold, split_by_fraction
from decaseg.inference.windows import slide
from decaseg.losses import LOSSES
from decaseg.nets.device import choose_device, choose_precision, set_threads
from decaseg.nets.unet import build
from decaseg.planning.check import quick_problems, refuse
from decaseg.planning.fingerprint import take_fingerprint
from decaseg.planning.plan import LIBRARIES_GIB, Plan, make_plan
from decaseg.recipes import Recipe, named
from decaseg.reporting.progress import progress
from decaseg.reporting.table import print_facts
from decaseg.storage.cache import Cache
from decaseg.storage.decathlon import Dataset, read_dataset
from decaseg.storage.files import read_json, write_json
from decaseg.storage.provenance import available_memory_gib, provenance
from decaseg.storage.rundir import RunDir
from decaseg.training.checkpoint import load_checkpoint, save_checkpoint, save_weights
from decaseg.training.events import EventLog
from decaseg.training.interruption import stop_requests
from decaseg.training.loop import Budget, Hooks, Settings, State, fit
from decaseg.training.monitor import TensorBoard, TrainingLine
from decaseg.training.optimise import OPTIMISERS, SCHEDULES, Average, Plateau, make_optimiser
from decaseg.training.targets import truth_for_loss
from decaseg.training.validate import make_validation
from decaseg.workflows.plan import plan_rows, wishes_of

CHECKPOINT_EVERY_S = 120.0
MEMORY_SHARE = 0.85  # of what is available: others need some, and the estimate is one
INTERRUPTED = 130
CHANGEABLE = {"minutes", "epochs", "lr", "device", "precision", "threads"}  # on resuming


def run(
    dataset: Path,
    out: Path,
    recipe: Recipe,
    resume: bool = False,
    memory_gib: float | None = None,
    cache: Path | None = None,
) -> int:
    """Trains; returns 0 when the budget is spent, 130 when it was interrupted with its state saved.

    A new training refuses a folder that holds one; `resume` goes on with the recipe, plan and split it finds there.
    ValueError names what is wrong with data, options or folder.
    """
    started = time.perf_counter()
    folder = RunDir(out)
    data = read_dataset(dataset)
    refuse(quick_problems(data))
    if resume:
        recipe, plan, split = _read_run(folder, data, recipe)
    else:
        recipe, plan, split = _start_run(folder, data, recipe, memory_gib)
    device = choose_device(recipe.device)
    precision = choose_precision(recipe.precision, device)
    threads = set_threads(recipe.threads)
    if recipe.deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)
    print_facts(f"{plan.dataset}, recipe {recipe.name}", plan_rows(plan), file=sys.stderr)
    print(
        f"{device.type}, {precision}, {threads} threads; {len(split.train)} cases train, {len(split.val)} validate",
        file=sys.stderr,
    )

    with stop_requests() as stopping:
        with progress("preparing cases", lines=True) as advance:
            training, validation = _prepare(data, split, plan, recipe, Cache(cache or folder.cache), advance)
        spent_s = time.perf_counter() - started
        budget = _budget(recipe, plan, len(training), spent_s)
        state = _new_state(plan, recipe, device)
        if resume and (folder.checkpoint.exists() or folder.previous_checkpoint.exists()):  # else: killed before one
            state.load(load_checkpoint(folder.checkpoint, folder.previous_checkpoint))
        log, line = _open_log(folder, budget)
        log(
            "resume" if resume else "start",
            step=state.step,
            elapsed_s=state.elapsed_s,
            preparation_s=spent_s,
            cases=len(training),
            precision=precision,
            threads=threads,
        )
        done = _fit(state, folder, plan, recipe, training, validation, budget, device, precision, log, line, stopping)
        line.close()
    save_weights(folder.weights, state.weights())
    log("end" if done else "stop", step=state.step, elapsed_s=state.elapsed_s)
    log.close()
    _say_goodbye(folder, dataset, state, done, time.perf_counter() - started)
    return 0 if done else INTERRUPTED


def _start_run(folder: RunDir, data: Dataset, recipe: Recipe, memory_gib: float | None) -> tuple[Recipe, Plan, Split]:
    """Plans, splits, and writes what a RUN holds before its first step."""
    if folder.plan.exists() or folder.checkpoint.exists():
        raise ValueError(
            f"--out {folder.root}: holds a training already; add --resume to go on with it, or name another folder"
        )
    _check_choices(recipe)
    folder.root.mkdir(parents=True, exist_ok=True)
    with progress("reading cases", lines=True) as advance:
        fingerprint = take_fingerprint(data, on_case=advance)
    plan = _fitted(make_plan(fingerprint, wishes_of(recipe, memory_gib)), recipe, memory_gib)
    names = [files.case for files in data.training]
    if recipe.fold is not None:
        split = split_by_fold(names, recipe.fold)
    else:
        split = split_by_fraction(names, recipe.val_fraction, recipe.seed)
    write_json(folder.fingerprint, fingerprint.to_json())
    write_json(folder.splits, {"train": list(split.train), "val": list(split.val)})
    write_json(folder.recipe, recipe.to_json())
    write_json(
        folder.provenance,
        provenance(
            seed=recipe.seed, data_sha256=plan.data_sha256, dataset=str(data.root), selection=_selection(recipe)
        ),
    )
    write_json(folder.plan, plan.to_json())
    return recipe, plan, split


def _fitted(plan: Plan, recipe: Recipe, memory_gib: float | None) -> Plan:
    """The plan, with fewer patches a step where the recipe's own number does not fit into memory, and says so.

    A number the user asked for is not changed: ValueError tells what it needs and what would fit.
    """
    available = available_memory_gib()
    limit = memory_gib or (
        available * MEMORY_SHARE if available and choose_device(recipe.device).type == "cpu" else None
    )
    if limit is None or plan.memory_gib <= limit:
        return plan
    fits = int((limit - LIBRARIES_GIB) / plan.sample_gib)
    patch = " x ".join(map(str, plan.patch))
    need = (
        f"batches of {plan.batch_size} patches of {patch} need about {plan.memory_gib:.1f} GiB, "
        f"{limit:.1f} GiB may be used"
    )
    if fits < 1:
        raise ValueError(f"{need}; use a smaller --patch")
    if recipe.batch_size is not None and recipe.batch_size != named(recipe.name).batch_size:
        raise ValueError(f"--batch-size {plan.batch_size}: {need}; --batch-size {fits} fits")
    print(f"{need}: training with batches of {fits}", file=sys.stderr)
    return replace(plan, batch_size=fits)


def _read_run(folder: RunDir, data: Dataset, asked: Recipe) -> tuple[Recipe, Plan, Split]:
    """What a RUN was started with; only its budget and machine may be changed on resuming."""
    if not folder.is_run():
        raise ValueError(f"--resume: {folder.root} holds no training; leave --resume out to start one there")
    recipe = Recipe.from_json(read_json(folder.recipe), str(folder.recipe))
    recipe = _resumed(recipe, asked)
    plan = Plan.from_json(read_json(folder.plan), str(folder.plan))
    document = read_json(folder.splits)
    known = {files.case for files in data.training}
    missing = [case for case in [*document["train"], *document["val"]] if case not in known]
    if missing:
        raise ValueError(
            f"--resume: {data.root} lacks {missing[0]}, which this training uses; give the data set it was started with"
        )
    return recipe, plan, Split(tuple(document["train"]), tuple(document["val"]))


def _resumed(recipe: Recipe, asked: Recipe) -> Recipe:
    """The run's recipe with the budget, rate and machine asked for now; ValueError for what cannot change half-way."""
    plain, changes = named(asked.name), {}
    if asked.name not in ("default", recipe.name):
        raise ValueError(f"--recipe {asked.name}: this training was started with {recipe.name}; leave it out")
    for field in fields(Recipe):
        wanted = getattr(asked, field.name)
        if field.name != "name" and wanted != getattr(plain, field.name) and wanted != getattr(recipe, field.name):
            changes[field.name] = wanted
    if fixed := sorted(set(changes) - CHANGEABLE):
        raise ValueError(
            f"--resume: {fixed[0]} cannot change from {getattr(recipe, fixed[0])} to {changes[fixed[0]]} half-way; "
            "leave it out, or train anew into another --out"
        )
    return replace(recipe, **changes)


def _check_choices(recipe: Recipe) -> None:
    choose_precision(recipe.precision, choose_device(recipe.device))
    for option, value, known in (
        ("loss", recipe.loss, LOSSES),
        ("optimiser", recipe.optimiser, OPTIMISERS),
        ("schedule", recipe.schedule, SCHEDULES),
        ("keep", recipe.keep, ("last", "best")),
    ):
        if value not in known:
            raise ValueError(f"--set {option}={value}: choose one of {', '.join(known)}")
    if recipe.minutes is not None and recipe.minutes <= 0:
        raise ValueError(f"--minutes {recipe.minutes:g}: must be above 0")
    if recipe.minutes is None and recipe.epochs < 1:
        raise ValueError(f"--epochs {recipe.epochs}: must be at least 1")
    if recipe.lr <= 0:
        raise ValueError(f"--lr {recipe.lr:g}: must be above 0")
    if recipe.base_filters < 1 or (recipe.batch_size is not None and recipe.batch_size < 1):
        raise ValueError("--base-filters and --batch-size: must be at least 1")


def _selection(recipe: Recipe) -> str:
    """In words, what the validation cases chose; reports repeat it."""
    if recipe.keep == "best":
        return "The validation cases chose the checkpoint, so scores on them are optimistic; judge on other cases"
    if recipe.schedule == "plateau":
        return "The validation cases steered the learning rate, but did not choose the checkpoint"
    return "The validation cases chose nothing: neither checkpoint nor settings"


def _prepare(
    data: Dataset, split: Split, plan: Plan, recipe: Recipe, cache: Cache, advance: Callable[[int, int], None]
) -> tuple[list[TrainingCase], list[TrainingCase]]:
    """Training cases, and those validation cases that are looked at while training."""
    watched = split.val[: recipe.validation_cases]
    files = [data.case(name) for name in (*split.train, *watched)]
    cases = prepare_cases(files, plan.preprocessing, cache, on_case=advance)
    return cases[: len(split.train)], cases[len(split.train) :]


def _budget(recipe: Recipe, plan: Plan, cases: int, spent_s: float) -> Budget:
    """`--minutes` counts from the start of the command, so that it ends when the user was told."""
    steps = recipe.steps_per_epoch or max(1, -(-cases // plan.batch_size))
    seconds = None if recipe.minutes is None else max(recipe.minutes * 60 - spent_s, 1.0)
    return Budget(steps, recipe.epochs, seconds)


def _new_state(plan: Plan, recipe: Recipe, device: torch.device) -> State:
    torch.manual_seed(recipe.seed)
    model: nn.Module = build(plan.network).to(device)
    model = model.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return State(
        model,
        make_optimiser(recipe.optimiser, model, recipe.lr, recipe.weight_decay),
        Average(model, recipe.average_decay) if recipe.average_decay is not None else None,
        Plateau(recipe.plateau_patience) if recipe.schedule == "plateau" else None,
    )


def _open_log(folder: RunDir, budget: Budget) -> tuple[EventLog, TrainingLine]:
    line = TrainingLine(budget)
    return EventLog(folder.log, line.on_event, TensorBoard(folder.tensorboard)), line


def _augmentation(plan: Plan, recipe: Recipe) -> Augmentation:
    spatial = Spatial(
        rotation_deg=recipe.rotation_deg,
        rotation_share=recipe.rotation_share,
        scale=(recipe.scale_low, recipe.scale_high),
        scale_share=recipe.scale_share,
        mirror_axes=plan.mirror_axes,
        right_angles=recipe.right_angles,
    )
    return Augmentation(plan.patch, spatial, Intensity() if recipe.intensity else None, recipe.seed)


def _fit(
    state: State,
    folder: RunDir,
    plan: Plan,
    recipe: Recipe,
    training: list[TrainingCase],
    validation: list[TrainingCase],
    budget: Budget,
    device: torch.device,
    precision: str,
    log: EventLog,
    line: TrainingLine,
    stopping: Callable[[], bool],
) -> bool:
    augment = _augmentation(plan, recipe)
    sampler = PatchSampler(training, augment.source_shape, plan.batch_size, recipe.foreground_share, recipe.seed)
    settings = Settings(
        lr=recipe.lr,
        schedule=SCHEDULES[recipe.schedule],
        budget=budget,
        precision=precision,
        clip_norm=recipe.clip_norm,
        keep=recipe.keep,
        checkpoint_every_s=CHECKPOINT_EVERY_S,
        validation_share=recipe.validation_share,
        validate_every_epoch=recipe.deterministic,
    )

    def save(now: State) -> None:
        save_checkpoint(folder.checkpoint, folder.previous_checkpoint, now.to_save())
        log("checkpoint", step=now.step, elapsed_s=now.elapsed_s)

    hooks = Hooks(
        log=log,
        on_step=line.on_step,
        validate=make_validation(validation, plan.target, plan.patch, device, precision, slide) if validation else None,
        save=save,
        stopping=stopping,
    )
    batches = read_ahead(sampler, state.step)
    try:
        return fit(
            state, batches, truth_for_loss(plan.target, device), augment, LOSSES[recipe.loss], settings, device, hooks
        )
    finally:
        batches.close()


def _say_goodbye(folder: RunDir, dataset: Path, state: State, done: bool, seconds: float) -> None:
    if done:
        print(f"trained {state.step} steps in {seconds / 60:.1f} min; weights: {folder.weights}")
        print(f"next: decaseg evaluate {folder.root} --data {dataset} --out {folder.root.parent / 'evaluation'}")
    else:
        print(
            f"interrupted after {state.step} steps; the state is saved: go on with the same command and --resume",
            file=sys.stderr,
        )
