"""`decaseg models`: what ships with the package, what it is for, and how it was judged."""

from __future__ import annotations

import json
from typing import Any

from decaseg.reporting.table import print_facts
from decaseg.storage.shipped import Shipped, shipped


def run(as_json: bool = False) -> int:
    """Prints every shipped model with its scores; returns 0."""
    found = shipped()
    if as_json:
        print(json.dumps({name: _document(model) for name, model in found.items()}, ensure_ascii=False))
        return 0
    if not found:
        print("no models ship with this installation")
    for name, model in found.items():
        facts = model.facts()
        rows = [(key.replace("_", " "), str(facts[key]), "") for key in ("outlines", "image", "training", "licence")]
        rows += [("judged on", str(facts["judged_on"]), "")]
        rows += [(f"Dice, {kind}", _scores(scores), "") for kind, scores in facts["scores"].items()]
        rows += [("names", ", ".join(_names(model)), "")]
        print_facts(name, rows)
        print(f"card: {model.card}\nnext: decaseg predict {name} IMAGE --out FOLDER")
    return 0


def _names(model: Shipped) -> list[str]:
    return [model.name, *(f"{model.name}/{part}" for part in (*model.precisions(), "run"))]


def _scores(scores: dict[str, Any]) -> str:
    low, high = scores["ci95"]
    mean = f"mean {scores['mean']:.3f} ({low:.3f} to {high:.3f})"
    return f"{mean}, median {scores['median']:.3f}, least {scores['least']:.3f}"


def _document(model: Shipped) -> dict[str, Any]:
    return {**model.facts(), "names": _names(model), "folder": str(model.root)}
