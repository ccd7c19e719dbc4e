"""The gate: an export must predict what its source predicts, on whole cases, or it is marked as failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from decaseg.exporting.structures import structure_facts
from decaseg.metrics.case import CaseScores
from decaseg.volume import Volume


@dataclass(frozen=True)
class Tolerance:
    """By how much the mean Dice may drop; in what share of the foreground labels may differ (None: only reported)."""

    dice_drop: float
    disagreement: float | None = None

    def __str__(self) -> str:
        labels = "" if self.disagreement is None else f", labels within {self.disagreement:.1%} of the foreground"
        return f"mean Dice within {self.dice_drop:g}{labels}"


# Why these: docs/explanation/parity.md. The share is of the foreground voxels of either label map.
TOLERANCES = {
    "fp32": Tolerance(0.001, 0.001),
    "fp16": Tolerance(0.001),
    "bf16": Tolerance(0.002),
    "int8": Tolerance(0.002),
}


@dataclass(frozen=True)
class Parity:
    """How far an export's predictions are from its source's; `passed` is the gate's answer, `reason` says it in words.

    `max_dice_drop` is the largest fall of one case's mean Dice; `disagreement` the share of foreground voxels (of
    either label map) whose labels differ, over all cases together. `source` and `export` are engine and precision as
    they really ran; `tolerance` is what was allowed. `structures` are the export's scores (see `structure_facts`),
    `seconds_a_case` the median from image in memory to label map, None where nobody took the time.
    """

    passed: bool
    reason: str
    cases: int
    mean_dice_source: float
    mean_dice_export: float
    max_dice_drop: float
    disagreement: float
    source: str
    export: str
    tolerance: Tolerance
    structures: Mapping[str, Any] = field(default_factory=dict)
    seconds_a_case: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Compared:
    """One case through both engines."""

    source: Volume
    export: Volume
    source_scores: CaseScores
    export_scores: CaseScores
    export_s: float | None = None


def judge_parity(
    cases: Iterable[Compared], source: str, export: str, tolerance: Tolerance = TOLERANCES["fp32"]
) -> Parity:
    """Applies the gate to all cases together. ValueError where there is none."""
    before, after, differing, foreground = [], [], 0, 0
    scores, seconds = [], []
    for case in cases:
        scores.append(case.export_scores)
        if case.export_s is not None:
            seconds.append(case.export_s)
        before.append(case.source_scores.mean_dice)
        after.append(case.export_scores.mean_dice)
        first, second = case.source.array, case.export.array
        differing += int(np.count_nonzero(first != second))
        foreground += int(np.count_nonzero((first != 0) | (second != 0)))
    if not before:
        raise ValueError("parity: no case to compare; give --data a data set with labels")
    drop = float(np.mean(before) - np.mean(after))
    disagreement = differing / max(foreground, 1)
    faults = []
    if drop > tolerance.dice_drop:
        faults.append(f"mean Dice drops by {drop:.4f}, more than {tolerance.dice_drop:g}")
    if tolerance.disagreement is not None and disagreement > tolerance.disagreement:
        faults.append(f"labels differ in {disagreement:.3%} of the foreground, more than {tolerance.disagreement:.1%}")
    return Parity(
        passed=not faults,
        reason="; ".join(faults) or str(tolerance),
        cases=len(before),
        mean_dice_source=float(np.mean(before)),
        mean_dice_export=float(np.mean(after)),
        max_dice_drop=float(np.max(np.subtract(before, after))),
        disagreement=disagreement,
        source=source,
        export=export,
        tolerance=tolerance,
        structures=structure_facts(scores),
        seconds_a_case=float(np.median(seconds)) if seconds else None,
    )
