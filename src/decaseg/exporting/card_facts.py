"""What bundle.json says of training, data and evaluation, for the model card and for whoever asks later.

A bundle leaves the place where it was trained, and case names may be those of patients: here are numbers, no names.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from decaseg.exporting.structures import METRICS, failures
from decaseg.planning.plan import Plan
from decaseg.storage.bundle import BundleDir, model_files
from decaseg.storage.dataset import Dataset
from decaseg.storage.files import read_json, sha256_of
from decaseg.storage.rundir import RunDir

FROM_RECIPE = ("name", "target", "seed", "loss", "epochs", "minutes", "deterministic")
FROM_DATASET = {"licence": ("licence", "license"), "reference": ("reference",), "release": ("release", "relase")}


def card_facts(
    run: RunDir, bundle: BundleDir, plan: Plan, model_format: str, dataset: Dataset | None
) -> dict[str, Any]:
    """Parts of bundle.json: `training`, `training_data` and `sha256` of the model's files."""
    return {
        "training": training_facts(run),
        "training_data": _data_facts(plan, dataset),
        "sha256": {name: sha256_of(bundle.root / name) for name in model_files(model_format)},
    }


def training_facts(run: RunDir) -> dict[str, Any]:
    """Recipe, seed, machine, and what the log says of steps and minutes; null for what the run does not record."""
    recipe, made = _read(run.recipe), _read(run.provenance)
    events = list(run.events())
    started = next((event for event in events if event.get("event") == "start"), {})
    # A resumed training's clock goes on where the last one stopped.
    seconds = [event["elapsed_s"] for event in events if isinstance(event.get("elapsed_s"), int | float)]
    steps = [event["step"] for event in events if isinstance(event.get("step"), int)]
    machine, versions = made.get("machine") or {}, made.get("versions") or {}
    return {
        "recipe": {key: recipe.get(key) for key in FROM_RECIPE},
        "minutes": round(max(seconds) / 60, 1) if seconds else None,
        "steps": max(steps) if steps else None,
        "precision": started.get("precision"),
        "created": made.get("created"),
        "machine": {key: machine.get(key) for key in ("processor", "memory_gib")},
        "versions": {key: versions.get(key) for key in ("decaseg", "torch")},
        "started_from_other_weights": bool(made.get("start")),
        "imported": bool(made.get("imported")),
    }


def evaluation_facts(folder: Path, document: Mapping[str, Any]) -> dict[str, Any]:
    """What a card says of an evaluation folder of this model. ValueError where it is another target's, or none."""
    path = folder / "metrics.json"
    metrics = read_json(path)
    names = [s["name"] for s in document["plan"]["target"]["structures"]]
    found = metrics.get("structures") if isinstance(metrics, dict) else None
    if not isinstance(found, dict) or "cases" not in metrics:
        raise ValueError(f"{path}: is no evaluation's; name the folder that decaseg evaluate wrote")
    if sorted(found) != sorted(names):
        raise ValueError(f"--evaluation {folder}: scores {', '.join(found)}, this model outlines {', '.join(names)}")
    cases = metrics["cases"].values()
    return {
        "engine": metrics.get("engine"),
        "precision": metrics.get("precision"),
        "cases_scored": metrics.get("cases_scored"),
        "cases": len(cases),
        "trained_on": len(metrics.get("trained_on") or ()),
        "nsd_tolerance_mm": (metrics.get("scoring") or {}).get("nsd_tolerance_mm"),
        "mean_dice": metrics["mean_dice"],
        "mean_dice_statistics": metrics.get("mean_dice_statistics"),
        "structures": {
            name: {metric: found[name][metric] for metric in METRICS if metric in found[name]}
            | {"failures": failures([case[name]["dice"] for case in cases])}
            for name in names
        },
    }


def _data_facts(plan: Plan, dataset: Dataset | None) -> dict[str, Any]:
    """Licence, reference and release as dataset.json has them; null where --data was not the training's data set."""
    found: dict[str, Any] = dict.fromkeys(FROM_DATASET)
    if dataset is None or dataset.name != plan.dataset:
        return found
    document = _read(dataset.root / "dataset.json")
    for fact, keys in FROM_DATASET.items():
        words = [document[key].strip() for key in keys if isinstance(document.get(key), str)]
        found[fact] = next((word[:200] for word in words if word), None)
    return found


def _read(path: Path) -> dict[str, Any]:
    with suppress(ValueError):
        document = read_json(path)
        if isinstance(document, dict):
            return document
    return {}
