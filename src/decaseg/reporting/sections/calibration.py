"""Do probabilities mean what they say: a reliability diagram a structure, with intervals over cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from decaseg.metrics.calibration import BINS, Reliability, pooled
from decaseg.reporting.charts import NARROW, RIGHT, line, opened, x_axis, x_scale, y_axis, y_scale
from decaseg.reporting.words import counted, percent

RESAMPLES = 2000


@dataclass(frozen=True, eq=False)
class Calibrated:
    """One structure's histogram over all cases, and 95 % bootstrap intervals over cases.

    `low` and `high` are (BINS,) shares that are true, NaN where a bin is empty; `error_ci95` is the calibration
    error's, None with one case.
    """

    total: Reliability
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    error_ci95: tuple[float, float] | None
    cases: int


def calibrated(cases: Mapping[str, Mapping[str, Reliability]], structure: str, seed: int = 0) -> Calibrated | None:
    """Pools one structure over the cases that have it; None where no voxel was given 5 % or more."""
    parts = [rows[structure] for rows in cases.values() if structure in rows]
    total = pooled(parts)
    if not parts or total.error is None:
        return None
    n = len(parts)
    table = np.stack([np.stack([p.voxels, p.probability, p.true]).astype(float) for p in parts]).reshape(n, -1)
    draws = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    voxels, sums, true = np.moveaxis((draws @ table).reshape(RESAMPLES, 3, BINS), 1, 0)
    with np.errstate(invalid="ignore"):
        shares = true / np.where(voxels > 0, voxels, np.nan)
        errors = np.abs(sums - true)[:, 1:].sum(axis=1) / voxels[:, 1:].sum(axis=1)
    ends = np.full((2, BINS), np.nan)
    seen = total.voxels > 0
    ends[:, seen] = np.nanpercentile(shares[:, seen], [2.5, 97.5], axis=0)
    error = np.nanpercentile(errors, [2.5, 97.5])
    return Calibrated(total, ends[0], ends[1], (float(error[0]), float(error[1])) if n > 1 else None, n)


def calibration_words(found: Calibrated) -> list[str]:
    """What the diagram shows, in sentences."""
    total = found.total
    assert total.error is not None
    assert total.excess is not None
    interval = ""
    if found.error_ci95 is not None:
        interval = f" (95 % interval {100 * found.error_ci95[0]:.2g} to {100 * found.error_ci95[1]:.2g})"
    words = [f"Off by {100 * total.error:.2g} percentage points on average{interval}."]
    if abs(total.excess) < 0.01:
        words.append("Neither too sure nor too doubtful on the whole.")
    elif total.excess > 0:
        words.append(f"Overconfident: {100 * total.excess:.2g} points above what was true.")
    else:
        words.append(f"Underconfident: {-100 * total.excess:.2g} points below what was true.")
    if total.overlooked:
        words.append(f"{percent(total.overlooked)} of the structure's voxels were given less than 5 %.")
    return words


def calibration_chart(structure: str, found: Calibrated, place: int) -> str:
    """Share that was true against the probability given; the diagonal is perfect, a mark's area its share of voxels."""
    x, y = x_axis(0.0, 1.0, stop=NARROW - RIGHT), y_axis(0.0, 1.0)
    total = found.total
    most = max(int(total.voxels[1:].max()), 1)
    parts = [opened(f"Reliability of {structure}", " ".join(calibration_words(found)), width=NARROW)]
    parts.append(y_scale(y, "Share that was true", right=x.stop))
    parts.append(x_scale(x, "Probability given"))
    parts.append(f'<g class="c{place}">{line("zero", x(0), y(0), x(1), y(1))}')
    shown = [b for b in range(BINS) if total.voxels[b]]
    path = " ".join(f"{x(total.probability[b] / total.voxels[b])},{y(total.true[b] / total.voxels[b])}" for b in shown)
    parts.append(f'<polyline class="path" points="{path}"/>')
    for b in shown:
        n = int(total.voxels[b])
        given, true = total.probability[b] / n, total.true[b] / n
        radius = 2.6 + (5.0 * (min(n, most) / most) ** 0.5 if b else 0.0)
        words = (
            f"given {percent(b / BINS)} to {percent((b + 1) / BINS)}, {percent(given)} on average\n"
            f"true: {percent(true)} of {counted(n, 'voxel')}"
        )
        parts.append(f"<g><title>{escape(words)}</title>")
        if found.cases > 1:
            parts.append(line("whisker", x(given), y(found.low[b]), x(given), y(found.high[b])))
        parts.append(f'<circle class="mark" cx="{x(given)}" cy="{y(true)}" r="{radius:.1f}"/></g>')
    return "".join(parts) + "</g></svg>"
