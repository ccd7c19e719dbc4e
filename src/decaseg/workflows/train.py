"""`decaseg train`: from a data set to a RUN."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from decaseg.data.cases import prepare_cases
from decaseg.data.splits import Split
from decaseg.nets.device import choose_device, choose_precision, return_freed_memory, set_threads
from decaseg.planning.fingerprint import take_fingerprint
from decaseg.planning.memory import least_saving, most_patches, refusal
from decaseg.planning.plan import Plan, make_plan, members_for
from decaseg.recipes import CHOSEN, Recipe, named
from decaseg.reporting.plan_table import print_plan
from decaseg.reporting.progress import progress
from decaseg.storage.cache import Cache
from decaseg.storage.dataset import Dataset
from decaseg.storage.files import read_json, write_json
from decaseg.storage.layouts import read_dataset
from decaseg.storage.provenance import available_memory_gib, provenance
from decaseg.storage.rundir import RunDir
from decaseg.training.checkpoint import load_checkpoint, save_weights
from decaseg.training.distributed import RankLost, Ranks, joined
from decaseg.training.interruption import stop_requests
from decaseg.training.loop import State
from decaseg.training.pace import seconds_a_step
from decaseg.workflows.fine_tuning import begin_with, read_start, recipe_of, seed_of_draws, seen_before
from decaseg.workflows.fitting import Cases, Run, budget_of, fit_run, new_state, open_watch
from decaseg.workflows.plan import chosen_for_plan, wishes_of
from decaseg.workflows.resuming import layout_of, owned, read_run
from decaseg.workflows.splitting import draw_split, same_images, tell
from decaseg.workflows.vetting import check_choices, check_headers, check_watched, selection, tell_headers

MEMORY_SHARE = 0.85  # of what is available: others need some, and the estimate is one
INTERRUPTED = 130
BY_THE_CLOCK = "--deterministic: a budget in minutes gives other steps each time; for equal weights give --epochs N"


@dataclass(frozen=True)
class Source:
    """Where the data are; `layout` None: as it looks."""

    path: Path
    layout: str | None

    def __str__(self) -> str:
        """As options of a command."""
        return str(self.path) if self.layout is None else f"{self.path} --layout {self.layout}"


def run(
    dataset: Path,
    out: Path,
    recipe: Recipe,
    resume: bool = False,
    memory_gib: float | None = None,
    cache: Path | None = None,
    layout: str | None = None,
) -> int:
    """Trains; returns 0 when the budget is spent, 130 when it was interrupted with its state saved.

    A new training refuses a folder that holds one; `resume` goes on with the recipe, plan and split it finds there.
    ValueError names what is wrong with data, options or folder. Started by torchrun, all processes train together;
    1 where one of them is lost.
    """
    started, folder = time.perf_counter(), RunDir(out)
    layout = layout_of(folder) if resume and layout is None else layout
    try:
        with joined() as ranks, ExitStack() as stack:
            # Nothing is read or written before it is clear that nobody else trains there; without a RUN, `_begin` says
            # that there is nothing to resume.
            ranks.lead(lambda: stack.enter_context(owned(folder)) if not resume or folder.is_run() else None)
            return _train(ranks, started, Source(dataset, layout), folder, recipe, resume, memory_gib, cache)
    except RankLost as lost:
        print(f"decaseg: {lost}", file=sys.stderr)
        return 1


def _train(
    ranks: Ranks,
    started: float,
    dataset: Source,
    folder: RunDir,
    recipe: Recipe,
    resume: bool,
    memory_gib: float | None,
    cache: Path | None,
) -> int:
    """`run` as each rank does it; what only the first one is to do goes through `ranks.lead`."""
    data, recipe, plan, split = ranks.lead(lambda: _begin(ranks, dataset, folder, recipe, resume, memory_gib))
    device = ranks.device(ranks.together(lambda: choose_device(recipe.device)))
    precision = choose_precision(recipe.precision, device)
    threads = set_threads(recipe.threads, ranks.local_size)
    if plan.saving != "none":
        return_freed_memory()
    if recipe.deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)
    goes_on = recipe.from_run is not None
    print_plan(f"{plan.dataset}, recipe {recipe.name}", plan, precision, file=sys.stderr, goes_on=goes_on)
    machine = f"{device.type}, {precision}, {threads} threads{ranks.words}"
    print(f"{machine}; {len(split.train)} cases train, {len(split.val)} validate", file=sys.stderr)

    if recipe.deterministic and recipe.minutes is not None:
        print(BY_THE_CLOCK, file=sys.stderr)

    with stop_requests() as stopping:
        with progress("preparing cases", lines=True) as advance:
            advance = _unless(stopping, advance)
            cases = _prepare(ranks, data, split, plan, recipe, Cache(cache or folder.cache), advance)
        state = new_state(plan, recipe, device, ranks)  # loads much of torch: seconds that count
        spent_s = ranks.of_first(time.perf_counter() - started)
        budget = budget_of(recipe, plan, len(cases.training), spent_s)
        fresh: tuple[str, ...] | None = None  # weights not taken from another RUN
        if saved := ranks.lead(lambda: _saved_state(folder) if resume else None):
            state.load(saved)
        elif start := ranks.lead(lambda: read_start(recipe)):
            fresh = begin_with(state, start, plan, recipe.start_share, ranks)
        watch = open_watch(folder, budget, ranks)
        watch.log(
            "resume" if resume else "start",
            step=state.step,
            elapsed_s=state.elapsed_s,
            preparation_s=spent_s,
            cases=len(cases.training),
            precision=precision,
            threads=threads,
            processes=ranks.size,
            **({} if fresh is None else {"fresh_weights": list(fresh)}),
        )
        seed = seed_of_draws(recipe.seed, ranks.lead(lambda: read_json(folder.provenance)))
        run = Run(folder, plan, recipe, device, precision, ranks, seed)
        done = fit_run(run, state, cases, budget, watch, stopping)
    ranks.lead(lambda: save_weights(folder.weights, state.weights()))
    if state.patience is not None and state.patience.over:
        best, waited = state.patience.best, state.patience.waited
        watch.log("early_stop", step=state.step, best_dice=best, validations_waited=waited)
    watch.log("end" if done else "stop", step=state.step, elapsed_s=state.elapsed_s)
    watch.close()
    _say_goodbye(folder, dataset, state, done, time.perf_counter() - started)
    return 0 if done else INTERRUPTED


def _begin(
    ranks: Ranks, dataset: Source, folder: RunDir, recipe: Recipe, resume: bool, memory_gib: float | None
) -> tuple[Dataset, Recipe, Plan, Split]:
    """The data set, and what is to be trained on it: what a RUN says, or what is planned now and written there."""
    data = read_dataset(dataset.path, dataset.layout)
    found = check_headers(data)
    if resume:
        recipe, plan, split = read_run(folder, data, recipe)
        ranks.rows(plan.batch_size)
    else:
        recipe, plan, split = _start_run(ranks, folder, data, dataset.layout, recipe, memory_gib)
    tell_headers(data, found)
    return data, recipe, plan, split


def _start_run(
    ranks: Ranks, folder: RunDir, data: Dataset, layout: str | None, recipe: Recipe, memory_gib: float | None
) -> tuple[Recipe, Plan, Split]:
    """Plans, splits, and writes what a RUN holds before its first step."""
    if folder.plan.exists() or folder.checkpoint.exists():
        raise ValueError(
            f"--out {folder.root}: holds a training already; add --resume to go on with it, or name another folder"
        )
    check_choices(recipe)
    draw_split(recipe, data.training)  # refuses what cannot be split before the data are read
    start, chosen = read_start(recipe), recipe.chosen()
    for_plan = chosen_for_plan(recipe, memory_gib)
    recipe = recipe_of(recipe, start) if start else recipe
    folder.root.mkdir(parents=True, exist_ok=True)
    with progress("reading cases", lines=True) as advance:
        fingerprint = take_fingerprint(data, on_case=advance)
    wishes = wishes_of(recipe, memory_gib)
    planned = replace(make_plan(fingerprint, wishes, start.plan if start else None), chosen=for_plan)
    plan = _paced(ranks, _fitted(ranks, planned, recipe, memory_gib), recipe)
    ranks.rows(plan.batch_size)  # refuses a batch too small to share, before anything is written
    drawn = draw_split(recipe, data.training, same_images(fingerprint))
    tell(drawn)
    split = drawn.split
    check_watched(recipe, len(split.val))
    write_json(folder.fingerprint, fingerprint.to_json())
    write_json(folder.splits, {"train": list(split.train), "val": list(split.val)})
    write_json(folder.recipe, recipe.to_json() | {CHOSEN: list(chosen)})
    write_json(
        folder.provenance,
        provenance(
            seed=recipe.seed,
            data_sha256=plan.data_sha256,
            dataset=str(data.root),
            layout=layout,
            selection=selection(recipe, seen_before(start, fingerprint, split.val) if start else 0),
            start=start.to_json(plan) if start else None,
            split=drawn.to_json(),
            planned_batch_size=planned.batch_size,
        ),
    )
    write_json(folder.plan, plan.to_json())
    return recipe, plan, split


def _fitted(ranks: Ranks, plan: Plan, recipe: Recipe, memory_gib: float | None) -> Plan:
    """The plan with the least saving of memory that fits, chosen for each process's share of a batch.

    Where none does, a batch that nobody asked for gets smaller, which is said; one that was asked for is refused with
    what would fit.
    """
    device = choose_device(recipe.device)
    precision = choose_precision(recipe.precision, device)
    free = available_memory_gib() if device.type == "cpu" else None
    limit = memory_gib or (free * MEMORY_SHARE if free else None)
    if limit is None:
        return plan
    sharing = ranks.local_size if device.type == "cpu" else 1
    limit /= sharing
    mine = -(-plan.batch_size // ranks.size)
    limits = [limit]
    if recipe.memory_goal_gib is not None and not memory_gib:
        limits.insert(0, min(limit, recipe.memory_goal_gib / sharing))
    for one in limits:
        if saving := least_saving(plan.network, plan.patch, mine, one, precision):
            return replace(plan, saving=saving)
    words = refusal(plan, mine, limit, precision)
    fits = most_patches(plan.network, plan.patch, mine, limit, precision) * ranks.size
    if not fits or (recipe.batch_size is not None and recipe.batch_size != named(recipe.name).batch_size):
        raise ValueError(f"--batch-size {plan.batch_size}: {words}")
    print(f"{words}: training with batches of {fits}", file=sys.stderr)
    return _fitted(ranks, replace(plan, batch_size=fits), recipe, memory_gib)


def _paced(ranks: Ranks, plan: Plan, recipe: Recipe) -> Plan:
    """The plan with no more members than this machine can train in the minutes that there are."""
    if recipe.members is not None or recipe.minutes is None or plan.network.members == 1 or recipe.from_run:
        return plan
    device = choose_device(recipe.device)
    set_threads(recipe.threads, ranks.local_size)
    one, rows = replace(plan.network, members=1), -(-plan.batch_size // ranks.size)
    precision = choose_precision(recipe.precision, device)
    each_s = seconds_a_step(one, plan.patch, rows, plan.saving, device.type, precision)
    steps = recipe.minutes * 60 / each_s
    members = members_for(plan.network.members, steps)
    print(
        f"about {each_s:.2g} s a step here, {steps:.0f} in {recipe.minutes:g} minutes: networks to average: {members}",
        file=sys.stderr,
    )
    return replace(plan, network=replace(plan.network, members=members))


def _saved_state(folder: RunDir) -> dict[str, Any] | None:
    """The checkpoint; None where a training was killed before its first one."""
    if not folder.checkpoint.exists() and not folder.previous_checkpoint.exists():
        return None
    return load_checkpoint(folder.checkpoint, folder.previous_checkpoint, lambda line: print(line, file=sys.stderr))


def _unless(stopping: Callable[[], bool], advance: Callable[[int, int], None]) -> Callable[[int, int], None]:
    """`advance`, or KeyboardInterrupt once somebody has asked to stop: cases done so far are in the cache."""

    def told(done: int, total: int) -> None:
        advance(done, total)
        if stopping():
            raise KeyboardInterrupt

    return told


def _prepare(
    ranks: Ranks,
    data: Dataset,
    split: Split,
    plan: Plan,
    recipe: Recipe,
    cache: Cache,
    advance: Callable[[int, int], None],
) -> Cases:
    """Training cases, and those validation cases that are looked at while training; ranks share the work."""
    watched = split.val[: recipe.validation_cases]
    files = [data.case(name) for name in (*split.train, *watched)]
    if ranks.size > 1:
        mine = files[ranks.rank :: ranks.size]
        ranks.together(lambda: prepare_cases(mine, plan.preprocessing, cache, on_case=advance))
    cases = ranks.together(lambda: prepare_cases(files, plan.preprocessing, cache, on_case=advance))
    return Cases(cases[: len(split.train)], cases[len(split.train) :])


def _say_goodbye(folder: RunDir, dataset: Source, state: State, done: bool, seconds: float) -> None:
    if done:
        waited = state.patience.waited if state.patience is not None and state.patience.over else 0
        why = f", stopped early after {waited} validations without progress" if waited else ""
        print(f"trained {state.step} steps in {seconds / 60:.1f} min{why}; weights: {folder.weights}")
        print(f"next: decaseg evaluate {folder.root} --data {dataset} --out {folder.root.parent / 'evaluation'}")
    else:
        print(
            f"interrupted after {state.step} steps; the state is saved: go on with the same command and --resume",
            file=sys.stderr,
        )
