"""Going on with a training: what its RUN says, and what may be asked of it anew."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import fields, replace
from pathlib import Path

from decaseg.data.splits import Split
from decaseg.planning.plan import Plan
from decaseg.recipes import UP_TO, Recipe, named
from decaseg.storage.dataset import Dataset
from decaseg.storage.files import read_json, sweep_temporaries
from decaseg.storage.lock import held
from decaseg.storage.rundir import RunDir

CHANGEABLE = {
    "minutes",
    "epochs",
    "lr",
    "patience",
    "min_delta",
    "device",
    "precision",
    "threads",
    "checkpoint_minutes",
}


@contextmanager
def owned(folder: RunDir) -> Iterator[None]:
    """The RUN belongs to this process until the end of the `with`; files that killed ones left half written go.

    ValueError where another process trains in it: their checkpoints would overwrite each other. The folder is made,
    and goes again where nothing was written into it; its lock goes where it has not become a RUN.
    """
    fresh = not folder.root.exists()
    folder.root.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            folder.lock.touch()
            stack.enter_context(held(folder.lock))
        except (BlockingIOError, FileNotFoundError):  # the latter: it has just ended, and removed what it had made
            raise _taken(folder) from None
        for place in (folder.root, folder.checkpoint.parent):
            sweep_temporaries(place)
        try:
            yield
        finally:
            if fresh and not folder.is_run():
                with suppress(OSError):
                    folder.lock.unlink()
                    folder.root.rmdir()


def refuse_where_taken(out: Path) -> None:
    """ValueError, as `owned`'s, where another process trains there now: to be asked before seconds of imports.

    Not asked by those that torchrun started, who train there together.
    """
    folder = RunDir(out)
    if "WORLD_SIZE" in os.environ:
        return
    try:
        with held(folder.lock, shared=True):
            return
    except BlockingIOError:
        raise _taken(folder) from None
    except OSError:  # there is none, or a disk that says so again in a moment
        return


def _taken(folder: RunDir) -> ValueError:
    return ValueError(
        f"--out {folder.root}: another process is training there; wait for its end, or name another folder"
    )


def read_run(folder: RunDir, data: Dataset, asked: Recipe) -> tuple[Recipe, Plan, Split]:
    """What a RUN was started with; only its budget and machine may be changed on resuming."""
    if not folder.is_run():
        raise ValueError(f"--resume: {folder.root} holds no training; leave --resume out to start one there")
    if folder.provenance.is_file() and read_json(folder.provenance).get("imported"):
        raise ValueError(
            f"--resume: {folder.root} was imported, there is no training to go on with; begin one with its weights: "
            f"--from {folder.root} and a new --out"
        )
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


def layout_of(folder: RunDir) -> str | None:
    """The layout that the training in a RUN was told its data have; None where it was left to be seen."""
    if not folder.provenance.is_file():
        return None
    layout = read_json(folder.provenance).get("layout")
    return None if layout is None else str(layout)


def _resumed(recipe: Recipe, asked: Recipe) -> Recipe:
    """The run's recipe with the budget, rate and machine asked for now; ValueError for what cannot change half-way."""
    plain, changes = named(asked.name), {}
    if asked.name not in ("default", recipe.name):
        raise ValueError(f"--recipe {asked.name}: this training was started with {recipe.name}; leave it out")
    for field in fields(Recipe):
        wanted, is_now = getattr(asked, field.name), getattr(recipe, field.name)
        below = recipe.from_run is not None and field.name in UP_TO and wanted > is_now  # as settled at the start
        if field.name != "name" and wanted not in (getattr(plain, field.name), is_now) and not below:
            changes[field.name] = wanted
    if fixed := sorted(set(changes) - CHANGEABLE):
        raise ValueError(
            f"--resume: {fixed[0]} cannot change from {getattr(recipe, fixed[0])} to {changes[fixed[0]]} half-way; "
            "leave it out, or train anew into another --out"
        )
    return replace(recipe, **changes)
