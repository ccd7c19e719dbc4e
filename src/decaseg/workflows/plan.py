"""`decaseg plan`: what the data are like and the plan that follows from it, as a table."""

from __future__ import annotations

import json
import sys
from dataclasses import fields, replace
from pathlib import Path

from decaseg.planning.fingerprint import take_fingerprint
from decaseg.planning.memory import least_saving
from decaseg.planning.plan import make_plan
from decaseg.planning.wishes import Choices, Wishes
from decaseg.recipes import Recipe
from decaseg.reporting.plan_table import print_data, print_plan
from decaseg.reporting.progress import progress
from decaseg.storage.files import write_json
from decaseg.storage.layouts import read_dataset


def run(
    dataset: Path,
    recipe: Recipe,
    out: Path | None = None,
    memory_gib: float | None = None,
    as_json: bool = False,
    layout: str | None = None,
) -> int:
    """Prints fingerprint and plan; with `out`, writes fingerprint.json and plan.json there. Returns 0."""
    with progress("reading cases", lines=True) as advance:
        fingerprint = take_fingerprint(read_dataset(dataset, layout), on_case=advance)
    plan = replace(make_plan(fingerprint, wishes_of(recipe, memory_gib)), chosen=chosen_for_plan(recipe, memory_gib))
    if memory_gib and (saving := least_saving(plan.network, plan.patch, plan.batch_size, memory_gib, "fp32")):
        plan = replace(plan, saving=saving)
    if out is not None:
        write_json(out / "fingerprint.json", fingerprint.to_json())
        write_json(out / "plan.json", plan.to_json())
    if as_json:
        print(json.dumps({"fingerprint": fingerprint.to_json(), "plan": plan.to_json()}, allow_nan=False))
    place = sys.stderr if as_json else sys.stdout
    print_data(fingerprint, place)
    print_plan(f"the plan (recipe {recipe.name})", plan, file=place)
    if out is not None:
        print(f"written: {out / 'fingerprint.json'}, {out / 'plan.json'}", file=place)
    return 0


def wishes_of(recipe: Recipe, memory_gib: float | None = None) -> Wishes:
    """The planner's share of a recipe."""
    chosen = {field.name: getattr(recipe, field.name) for field in fields(Choices)}
    return Wishes(**chosen, memory_gib=memory_gib, minutes=recipe.minutes)


def chosen_for_plan(recipe: Recipe, memory_gib: float | None = None) -> tuple[str, ...]:
    """The planner's settings that a person gave, `memory` among them."""
    planners = {field.name for field in fields(Choices)}
    return (*(name for name in recipe.chosen() if name in planners), *(("memory",) if memory_gib else ()))
