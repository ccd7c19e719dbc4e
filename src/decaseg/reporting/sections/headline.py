"""The number a reader came for, its interval, and in words what it is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from decaseg.metrics import bootstrap_ci95
from decaseg.reporting.amounts import duration
from decaseg.reporting.material import Log, Material, Scores
from decaseg.reporting.sections.statistics import interval_of
from decaseg.reporting.words import counted, origin_words


@dataclass(frozen=True)
class Headline:
    """`notes` are sentences and whether each is a warning; `ends` the interval, as numbers, for its picture."""

    number: str
    text: str
    interval: str = ""
    value: float | None = None
    ends: tuple[float, float] | None = None
    notes: tuple[tuple[str, bool], ...] = ()


def headline(material: Material) -> Headline:
    """The mean Dice of the evaluation; without one the best validation Dice, with a warning that it flatters."""
    scores = material.scores
    if scores is not None and scores.mean_dice is not None:
        ends = mean_interval(scores)
        return Headline(
            f"{scores.mean_dice:.3f}",
            f"mean Dice over {counted(len(scores.cases), 'case')}",
            f"95 % interval {ends[0]:.3f} to {ends[1]:.3f}" if ends else "one case: no interval",
            scores.mean_dice,
            ends,
            tuple(origin_words(material, scores)),
        )
    best = best_validation(material.log)
    if best is None:
        return Headline("", "No score yet: nothing was validated.")
    value, where = best
    note = "Validation guides the choice of the checkpoint, so this number flatters; decaseg evaluate says more."
    return Headline(f"{value:.3f}", f"best validation Dice, {where}", value=value, notes=((note, True),))


def mean_interval(scores: Scores) -> tuple[float, float] | None:
    """The bootstrap's 95 % interval of the mean over cases of a case's mean Dice; of old metrics.json made here."""
    written = scores.other.get("mean_dice_statistics")
    if isinstance(written, dict) and len(scores.cases) > 1 and (ends := interval_of(written.get("ci95"))):
        return ends
    values = np.array(sorted(mean_dice(rows) for rows in scores.cases.values() if rows))
    if len(values) < 2:
        return None
    lows, highs = bootstrap_ci95(values[:, None])
    return float(lows[0]), float(highs[0])


def best_validation(log: Log | None) -> tuple[float, str] | None:
    """The highest mean Dice of the log's validations, and in words where it was reached."""
    points = [p for p in log.validations if p.values] if log else []
    if not points:
        return None
    best = max(points, key=lambda p: _mean(p.values))
    return _mean(best.values), f"epoch {best.epoch:.0f}" if best.epoch else f"step {best.step:.0f}"


def _mean(values: Mapping[str, float]) -> float:
    return values["mean"] if "mean" in values else sum(values.values()) / len(values)


def mean_dice(rows: Mapping[str, Mapping[str, float]]) -> float:
    """A case's Dice, the mean over its structures; 0 where none has one, so that it sorts as the worst."""
    dice = [row["dice"] for row in rows.values() if "dice" in row]
    return sum(dice) / len(dice) if dice else 0.0


def facts(material: Material) -> list[tuple[str, str]]:
    """Numbers beside the headline, and what they count."""
    found: list[tuple[str, str]] = []
    splits = material.documents.get("splits", {})
    for key, words in (("train", "training cases"), ("val", "validation cases")):
        if isinstance(splits.get(key), list):
            found.append((str(len(splits[key])), words))
    log = material.log
    points = (*log.epochs, *log.validations) if log else ()
    if points:
        found.append((f"{max(p.step for p in points):,.0f}".replace(",", " "), "training steps"))
        found.append((duration(max(p.elapsed_s for p in points)), "training time"))
    if material.scores:
        other = material.scores.other
        found += [(other[key], key) for key in ("engine", "precision") if isinstance(other.get(key), str)]
    return found
