"""`decaseg plan`: what the data are like and the plan that follows from it, as a table."""

from __future__ import annotations

import json
import sys
from dataclasses import fields, replace
from pathlib import Path

from decaseg.nets.savings import SAVINGS
from decaseg.nets.spec import NetworkSpec
from decaseg.planning.fingerprint import Fingerprint, take_fingerprint
from decaseg.planning.memory import least_saving
from decaseg.planning.plan import Plan, make_plan
from decaseg.planning.wishes import Choices, Wishes
from decaseg.recipes import Recipe
from decaseg.reporting.progress import progress
from decaseg.reporting.table import print_facts
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
    plan = make_plan(fingerprint, wishes_of(recipe, memory_gib))
    if memory_gib and (saving := least_saving(plan.network, plan.patch, plan.batch_size, memory_gib, "fp32")):
        plan = replace(plan, saving=saving)
    if out is not None:
        write_json(out / "fingerprint.json", fingerprint.to_json())
        write_json(out / "plan.json", plan.to_json())
    if as_json:
        print(json.dumps({"fingerprint": fingerprint.to_json(), "plan": plan.to_json()}, allow_nan=False))
    print_facts(f"{plan.dataset}: the data", fingerprint_rows(fingerprint), file=sys.stderr if as_json else None)
    print_facts(f"the plan (recipe {recipe.name})", plan_rows(plan), file=sys.stderr if as_json else None)
    if out is not None:
        print(f"written: {out / 'fingerprint.json'}, {out / 'plan.json'}", file=sys.stderr if as_json else sys.stdout)
    return 0


def wishes_of(recipe: Recipe, memory_gib: float | None = None) -> Wishes:
    """The planner's share of a recipe."""
    chosen = {field.name: getattr(recipe, field.name) for field in fields(Choices)}
    return Wishes(**chosen, memory_gib=memory_gib, minutes=recipe.minutes)


def fingerprint_rows(fingerprint: Fingerprint) -> list[tuple[str, str, str]]:
    """(what, value, why it matters) for people."""
    spacing = fingerprint.median_spacing_mm()
    shapes = [case.shape for case in fingerprint.cases]
    kept = sorted(case.kept_share for case in fingerprint.cases)[len(fingerprint.cases) // 2]
    rows = [
        ("cases", str(len(fingerprint.cases)), "training cases with labels"),
        ("channels", ", ".join(channel.name for channel in fingerprint.channels), "as the data set names them"),
        ("spacing", " x ".join(f"{s:.3g}" for s in spacing) + " mm", "median; right, anterior, superior"),
        ("shape", " x ".join(map(str, fingerprint.median_shape())), "median, cropped to what is not 0"),
        ("smallest, largest", f"{_times(min(shapes))}, {_times(max(shapes))}", "by their first axis"),
        ("kept by cropping", f"{kept:.0%}", "median; the rest is empty"),
    ]
    for value, name in fingerprint.labels.items():
        if value:
            seen = [c.label_voxels[value] for c in fingerprint.cases if value in c.label_voxels]
            middle = sorted(seen)[len(seen) // 2] if seen else 0
            rows.append((f"{value} {name}", f"{middle:,} voxels", f"median where present; in {len(seen)} cases"))
    return rows


def plan_rows(plan: Plan, precision: str = "fp32") -> list[tuple[str, str, str]]:
    """(what, value, why) for people."""
    how, net = plan.preprocessing, plan.network
    axes = ["right-left", "front-back", "up-down"]
    mirrored = ", ".join(axes[a] for a in plan.mirror_axes) or "none"
    return [
        ("target", f"{plan.target.kind}: {', '.join(plan.target.names)}", "--target"),
        ("channels", ", ".join(how.channels), "--channels"),
        ("spacing", " x ".join(f"{s:.3g}" for s in how.spacing_mm) + " mm", "median of the data"),
        ("normalisation", ", ".join(dict.fromkeys(n.kind for n in how.normalisation)), "by modality and cropping"),
        ("patch", _times(plan.patch), f"inside the median shape {_times(plan.median_shape)}; --patch"),
        ("batch", str(plan.batch_size), "what the voxel budget and 5 % of the data allow; --batch-size"),
        ("network", _network(net), "poolings while an axis has 8 voxels or more"),
        ("mirroring", mirrored, "axes along which no structure has a fixed direction; --set mirror=all or none"),
        ("memory", _memory(plan, precision), f"at the peak of training in {precision}; --memory sets a limit"),
    ]


def _network(net: NetworkSpec) -> str:
    kind = "residual U-Net" if net.residual else "U-Net"
    averaged = "" if net.members == 1 else f"the mean of {net.members}: "
    return f"{averaged}{kind}, filters {'-'.join(map(str, net.filters))}, {net.norm} norm, {net.downsample} down"


def _memory(plan: Plan, precision: str) -> str:
    saving = "" if plan.saving == "none" else f" (saving: {SAVINGS[plan.saving].words})"
    return f"about {plan.memory_gib(precision):.1f} GiB{saving}"


def _times(values: tuple[int, ...]) -> str:
    return " x ".join(map(str, values))
