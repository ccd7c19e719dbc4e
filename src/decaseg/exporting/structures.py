"""How well each structure is outlined, over cases that stay nameless."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from decaseg.metrics.case import CaseScores
from decaseg.metrics.summary import summarise

METRICS = ("dice", "hd95_mm", "nsd")


def structure_facts(scores: Sequence[CaseScores]) -> dict[str, dict[str, Any]]:
    """Structure -> Dice and distances with their spread and intervals, and `failures`; bundle.json keeps this."""
    summary = summarise({str(number): case for number, case in enumerate(scores)})
    return {
        name: {metric: metrics[metric].to_json() for metric in METRICS if metric in metrics}
        | {"failures": failures([case.structures[name]["dice"] for case in scores])}
        for name, metrics in summary.structures.items()
    }


def failures(dice: Sequence[float]) -> dict[str, Any]:
    """Of one structure's Dice over cases: the lowest, and how often nothing of it was found in its place."""
    return {"lowest_dice": float(min(dice)), "without_overlap": sum(value == 0 for value in dice)}
