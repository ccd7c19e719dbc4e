"""Predicted against true volumes: Bland and Altman's plot (Lancet 1986), a chart a structure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from decaseg.metrics import bootstrap_ci95
from decaseg.reporting.charts import (
    RIGHT,
    WIDTH,
    box,
    dot,
    line,
    number,
    opened,
    round_ticks,
    text,
    x_axis,
    x_scale,
    y_axis,
    y_scale,
)
from decaseg.reporting.words import signed

FEWEST = 3  # cases that limits of agreement can be given for
RIGHT_OF_LIMITS = 92  # room for what the lines are


@dataclass(frozen=True)
class Agreement:
    """`bias` is the mean of predicted less true in ml, `limits` bias -/+ 1.96 standard deviations.

    `ci95` is the bias' bootstrap interval over cases. `pairs` are case -> (predicted, true) in ml.
    """

    pairs: Mapping[str, tuple[float, float]]
    bias: float
    ci95: tuple[float, float]
    limits: tuple[float, float]
    mean_true: float

    @property
    def shown(self) -> bool:
        """Does the interval of the bias leave out 0?"""
        return self.ci95[0] > 0 or self.ci95[1] < 0


def agreement(cases: Mapping[str, Mapping[str, Mapping[str, float]]], structure: str) -> Agreement | None:
    """Of one structure's volumes over cases; None where fewer than three cases have both."""
    pairs = {}
    for case, rows in cases.items():
        row = rows.get(structure, {})
        if "volume_ml" in row and "volume_truth_ml" in row:
            pairs[case] = row["volume_ml"], row["volume_truth_ml"]
    if len(pairs) < FEWEST:
        return None
    both = np.array([pairs[case] for case in sorted(pairs)])
    difference = both[:, 0] - both[:, 1]
    low, high = bootstrap_ci95(difference[:, None])
    bias, reach = float(difference.mean()), 1.96 * float(difference.std(ddof=1))
    return Agreement(
        pairs, bias, (float(low[0]), float(high[0])), (bias - reach, bias + reach), float(both[:, 1].mean())
    )


def agreement_chart(structure: str, found: Agreement, place: int) -> str:
    """Difference against mean of the two volumes, with the bias and the limits of agreement."""
    points = {case: ((p + t) / 2, p - t) for case, (p, t) in found.pairs.items()}
    xs, ys = [x for x, _ in points.values()], [y for _, y in points.values()]
    low, high, _ = round_ticks(min(*ys, found.limits[0], 0.0), max(*ys, found.limits[1], 0.0))
    first, last, _ = round_ticks(min(xs), max(xs))
    x, y = x_axis(max(first, 0.0), last, stop=WIDTH - RIGHT - RIGHT_OF_LIMITS), y_axis(low, high)
    spoken = (
        f"{len(points)} cases, bias {signed(found.bias)} ml, limits of agreement "
        f"{signed(found.limits[0])} to {signed(found.limits[1])} ml"
    )
    parts = [opened(f"Bland-Altman plot of {structure}", spoken)]
    parts.append(y_scale(y, "Predicted less true volume, ml", right=x.stop))
    parts.append(x_scale(x, "Mean of predicted and true volume, ml"))
    parts.append(f'<g class="c{place}">')
    top, bottom = y(found.ci95[1]), y(found.ci95[0])
    parts.append(box("band", x.start, top, x.stop - x.start, bottom - top))
    parts.append(line("zero", x.start, y(0), x.stop, y(0)))
    named = [
        ("bias", found.bias, "bias"),
        ("limit", found.limits[1], "+1.96 SD"),
        ("limit", found.limits[0], "−1.96 SD"),
    ]
    for kind, value, words in named:
        parts.append(line(kind, x.start, y(value), x.stop, y(value)))
        below = 1 if value == found.limits[1] else 19 if value == found.bias else 33
        base = min(y(value) + below, y.start - 2)
        parts.append(text(x.stop + 8, base - 18, words, "tick"))
        parts.append(text(x.stop + 8, base, signed(value), "label"))
    for case, (mean, difference) in points.items():
        predicted, true = found.pairs[case]
        words = f"{case}\npredicted {number(predicted)} ml, true {number(true)} ml\ndifference {signed(difference)} ml"
        parts.append(dot("", case, x(mean), y(difference), words))
    return "".join(parts) + "</g></svg>"
