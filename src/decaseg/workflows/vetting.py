"""Is a recipe one that can be trained? And what do its validation cases choose?"""

from __future__ import annotations

from decaseg.losses import LOSSES
from decaseg.nets.device import choose_device, choose_precision
from decaseg.recipes import Recipe
from decaseg.training.optimise import OPTIMISERS, SCHEDULES


def check_choices(recipe: Recipe) -> None:
    """ValueError, naming option and choices, for the first one that cannot be trained."""
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


def selection(recipe: Recipe) -> str:
    """In words, what the validation cases chose; reports repeat it."""
    if recipe.keep == "best":
        return "The validation cases chose the checkpoint, so scores on them are optimistic; judge on other cases"
    if recipe.schedule == "plateau":
        return "The validation cases steered the learning rate, but did not choose the checkpoint"
    return "The validation cases chose nothing: neither checkpoint nor settings"
