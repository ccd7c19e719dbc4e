"""How one metric spreads over the cases: a violin, a dot a case, and the mean with its interval, a row a structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decaseg.reporting.charts import (
    BOTTOM,
    COLOURS,
    WIDTH,
    Axis,
    dot,
    line,
    number,
    opened,
    round_ticks,
    text,
    x_scale,
)  # fmt: skip
from decaseg.reporting.words import metric_words, said, shortened, with_unit

ROW, REACH, FIRST = 104, 29, 12  # height of a row, half the height of its swarm, where the first one begins
SIDE = 20
FEWEST_FOR_A_SHAPE = 8  # of fewer cases a violin would show the smoothing, not the cases


@dataclass(frozen=True)
class Row:
    """One structure's values by case, and the mean and interval that the scores have.

    `by_rule` are cases whose value is no measurement, since a mask is empty: a distance is then the image's diagonal.
    """

    name: str
    values: Mapping[str, float]
    mean: float | None
    ci95: tuple[float, float] | None
    by_rule: frozenset[str] = frozenset()

    @property
    def measured(self) -> dict[str, float]:
        return {case: v for case, v in self.values.items() if case not in self.by_rule} or dict(self.values)


def distribution_chart(metric: str, rows: Sequence[Row]) -> str:
    """Violins of `metric`, the rows from the top on a common axis; an empty string where there are no values.

    The violin is a Gaussian kernel's density (Silverman's width), cut at the lowest and the highest case. What is no
    measurement does not stretch the axis: beyond its end stands a hollow mark.
    """
    rows = [row for row in rows if row.values]
    if not rows:
        return ""
    values = [v for row in rows for v in row.measured.values()] + [row.mean for row in rows if row.mean is not None]
    low, high, _ = round_ticks(min(values), max(values))
    if all(0 <= v <= 1 for v in values):
        low, high = max(0.0, low), min(1.0, high)
    elif min(values) >= 0:
        low = 0.0
    height = FIRST + ROW * len(rows) + BOTTOM
    x = Axis(low, high, SIDE, WIDTH - SIDE)
    spoken = "; ".join(
        f"{row.name}, {len(row.values)} cases from {number(min(row.values.values()))} to "
        f"{number(max(row.values.values()))}, median {number(float(np.median(list(row.values.values()))))}"
        for row in rows
    )
    parts = [opened(metric_words(metric), spoken, height), x_scale(x, with_unit(metric), height, lines=True)]
    for place, row in enumerate(rows):
        parts.append(_row(metric, row, x, FIRST + ROW * place, place))
    return "".join(parts) + "</svg>"


def _row(metric: str, row: Row, x: Axis, top: float, place: int) -> str:
    middle, below = top + 24 + REACH, top + ROW - 12
    parts = [f'<g class="c{1 + place % (COLOURS - 1)}">', text(SIDE, top + 14, shortened(row.name, 44), "name")]
    parts.append(_violin(np.array(list(row.measured.values())), x, middle))
    # Dots are larger than they look: on a phone the picture shrinks, fingers do not.
    for case, at, rise in swarm({case: x(min(v, x.high)) for case, v in row.values.items()}, reach=REACH):
        words = f"{case}\n{row.name}: {said(metric, row.values[case])}"
        beyond = row.values[case] > x.high
        words += ", by rule: a mask is empty" if case in row.by_rule else ""
        parts.append(dot("beyond" if beyond else "", case, at, middle + rise, words))
    if row.ci95 is not None:
        words = f"95 % interval of the mean: {said(metric, row.ci95[0])} to {said(metric, row.ci95[1])}"
        bar = line("interval", x(row.ci95[0]), below, x(min(row.ci95[1], x.high)), below)
        parts.append(f"<g><title>{words}</title>{bar}</g>")
    if row.mean is not None:
        at = x(row.mean)
        parts.append(f'<g><title>mean {said(metric, row.mean)}</title><path class="mean" '
                     f'd="M{at} {below - 7}l6 7l-6 7l-6-7z"/></g>')  # fmt: skip
    return "".join(parts) + "</g>"


def _violin(values: NDArray[np.float64], x: Axis, middle: float) -> str:
    if len(values) < FEWEST_FOR_A_SHAPE or np.ptp(values) == 0:
        return ""
    q1, q3 = np.percentile(values, [25, 75])
    spread = min(float(values.std(ddof=1)), float(q3 - q1) / 1.34) or float(values.std(ddof=1))
    width = max(0.9 * spread * len(values) ** -0.2, float(np.ptp(values)) / 60)
    at = np.linspace(values.min(), values.max(), 80)
    density = np.exp(-0.5 * ((at[:, None] - values) / width) ** 2).sum(axis=1)
    half = (REACH + 3) * density / density.max()
    upper = [f"{x(a)},{middle - h:.1f}" for a, h in zip(at, half, strict=True)]
    lower = [f"{x(a)},{middle + h:.1f}" for a, h in zip(at, half, strict=True)]
    return f'<polygon class="violin" points="{" ".join([*upper, *reversed(lower)])}"/>'


def swarm(places: Mapping[str, float], gap: float = 9.4, reach: float = 40.0) -> list[tuple[str, float, float]]:
    """Each dot at its place, as near to the middle as it fits; squeezed together where the height runs out."""
    put: list[tuple[str, float, float]] = []
    for case, place in sorted(places.items(), key=lambda item: item[1]):
        near = [(p, r) for _, p, r in put if place - p < gap]
        steps = [0.0] + [sign * step * 2.35 for step in range(1, int(reach / 2.35)) for sign in (1, -1)]
        free = (s for s in steps if all((place - p) ** 2 + (s - r) ** 2 >= 0.99 * gap**2 for p, r in near))
        put.append((case, place, next(free, steps[len(put) % len(steps)])))
    return put
