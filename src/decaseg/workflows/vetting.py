"""Are data and recipe such that can be trained? And what do the validation cases choose?"""

from __future__ import annotations

import sys

from decaseg.losses import LOSSES
from decaseg.nets.device import choose_device, choose_precision
from decaseg.nets.spec import one_of
from decaseg.planning.check import Problem, quick_problems, refuse
from decaseg.recipes import Recipe
from decaseg.reporting.problems import lines
from decaseg.storage.dataset import Dataset
from decaseg.training.optimise import OPTIMISERS, SCHEDULES


def check_headers(data: Dataset) -> list[Problem]:
    """The part of `decaseg check` that needs no voxel: the warnings; ValueError for the first error."""
    found = quick_problems(data)
    refuse(found)
    return found


def tell_headers(data: Dataset, found: list[Problem]) -> None:
    """A line for each warning, and one that says how to have the voxels checked too.

    Said when nothing is left to be refused, since a refusal is one line.
    """
    for line in lines(found):
        print(line, file=sys.stderr)
    print(f"headers checked; decaseg check {data.root} checks voxels, duplicates and outliers too", file=sys.stderr)


def check_choices(recipe: Recipe) -> None:
    """ValueError, naming option and choices, for the first one that cannot be trained."""
    choose_precision(recipe.precision, choose_device(recipe.device))
    one_of("--set loss=", recipe.loss, LOSSES)
    one_of("--set optimiser=", recipe.optimiser, OPTIMISERS)
    one_of("--set schedule=", recipe.schedule, SCHEDULES)


def check_watched(recipe: Recipe, validation_cases: int) -> None:
    """ValueError for a choice that goes by validation Dice where no case validates."""
    if validation_cases and recipe.validation_cases:
        return
    for option, asked in (
        ("--patience", recipe.patience is not None),
        ("--set keep=best", recipe.keep == "best"),
        ("--set schedule=plateau", recipe.schedule == "plateau"),
    ):
        if asked:
            raise ValueError(f"{option}: goes by validation Dice, but no case validates; set --val-fraction above 0")


def selection(recipe: Recipe, seen: int | None = 0) -> str:
    """In words, what the validation cases chose; reports repeat it.

    `seen`: how many of them the training whose weights this one begins with was trained on, None where nobody knows.
    """
    if seen is None:
        before = "Whether the weights that this training began with were trained on the validation cases is not known"
        return f"{before}, so scores on them may be optimistic; judge on other cases. {selection(recipe)}"
    if seen:
        before = f"The weights that this training began with had been trained on {seen} of the validation cases"
        return f"{before}, so scores on them are optimistic; judge on other cases. {selection(recipe)}"
    steered = []
    if recipe.schedule == "plateau":
        steered.append("steered the learning rate")
    if recipe.patience is not None:
        steered.append("decided when to stop")
    if recipe.keep == "best":
        did = ", ".join(["chose the checkpoint", *steered])
        return f"The validation cases {did}, so scores on them are optimistic; judge on other cases"
    if steered:
        return f"The validation cases {' and '.join(steered)}, but did not choose the checkpoint"
    return "The validation cases chose nothing: neither checkpoint nor settings"
