"""Two sets of predictions of the same cases: how far apart they are, and what that shows.

Case by case, because cases differ far more than programs do: two overlapping intervals of means say little, the
interval of the mean difference says what is to be known.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decaseg.metrics.case import CaseScores
from decaseg.metrics.choices import better
from decaseg.metrics.summary import bootstrap_ci95
from decaseg.storage.files import write_text

FLIPS = 10_000
LEVEL = 0.05
FEWEST = 6  # of n untied pairs, all one way, the signed-rank test's p is 2 / 2^n: 0.0625 for 5, 0.03125 for 6


@dataclass(frozen=True)
class Difference:
    """One metric of one structure, the first set's less the second's, over `n` cases of which `changed` differ.

    `p_wilcoxon` is the signed-rank test's (zeros left out), `p_permutation` of the mean difference under flipped
    signs, `p_holm` the first one corrected for all comparisons of one table; each is 1 where nothing differs. `says`
    is `first` or `second` for the better one, `none` where no difference is shown, `few` where fewer than 6 cases
    differ and no test can decide, `equal` where no case differs, `differs` for a metric without a better side.
    `better` is 1 where more is better, -1 where less is, 0 where neither is.
    """

    mean_first: float
    mean_second: float
    mean: float
    median: float
    ci95: tuple[float, float]
    n: int
    changed: int
    p_wilcoxon: float
    p_permutation: float
    p_holm: float
    better: int
    says: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"ci95": list(self.ci95)}


@dataclass(frozen=True)
class Comparison:
    """`mean_dice` of the cases' means over structures: the one comparison to conclude from; the rest is to look at."""

    mean_dice: Difference
    structures: Mapping[str, Mapping[str, Difference]]
    cases: Mapping[str, Mapping[str, Mapping[str, float]]]

    def to_json(self) -> dict[str, Any]:
        structures = {s: {m: d.to_json() for m, d in rows.items()} for s, rows in self.structures.items()}
        return {"mean_dice": self.mean_dice.to_json(), "structures": structures, "cases": self.cases}


def compare(first: Mapping[str, CaseScores], second: Mapping[str, CaseScores], seed: int = 0) -> Comparison:
    """Compares two sets of scores of the same cases, structures and metrics.

    A better one is named only where the signed-rank test (Wilcoxon 1945) has p < 0.05 and the 95 % bootstrap interval
    of the mean difference leaves out 0. A ValueError names the cases that only one of the two has.
    """
    if not first or set(first) != set(second):
        lone = sorted(set(first) ^ set(second))
        raise ValueError(f"the two sets differ in their cases: {', '.join(lone[:5])}; compare the same cases")
    some = next(iter(first.values()))
    columns = [("", "dice"), *((s, m) for s, metrics in some.structures.items() for m in metrics)]
    values = [np.array([_row(scores[case], columns) for case in first]) for scores in (first, second)]
    differences = values[0] - values[1]
    low, high = bootstrap_ci95(differences, seed)
    ranked = np.array([_wilcoxon(column) for column in differences.T])
    judged = [i for i, (s, m) in enumerate(columns) if s and better(m)]
    holm = ranked.copy()
    holm[judged] = _holm(ranked[judged])
    flipped = _permutation(differences, seed)
    found = [
        _difference(values[0][:, i], values[1][:, i], (low[i], high[i]), (ranked[i], flipped[i], holm[i]), metric)
        for i, (_, metric) in enumerate(columns)
    ]
    structures: dict[str, dict[str, Difference]] = {s: {} for s in some.structures}
    cases: dict[str, dict[str, dict[str, float]]] = {case: {s: {} for s in some.structures} for case in first}
    for i, (structure, metric) in enumerate(columns[1:], 1):
        structures[structure][metric] = found[i]
        for case, value in zip(first, differences[:, i], strict=True):
            cases[case][structure][metric] = float(value)
    return Comparison(found[0], structures, cases)


def write_differences_csv(path: Path, comparison: Comparison) -> None:
    """A row a case and structure of differences, the cases where the first loses most Dice first."""
    worst_first = sorted(comparison.cases.items(), key=lambda item: (sum(r["dice"] for r in item[1].values()), item[0]))
    metrics = list(next(iter(comparison.structures.values())))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "structure", *metrics])
    for case, rows in worst_first:
        for structure, row in rows.items():
            writer.writerow([case, structure, *(round(row[metric], 6) for metric in metrics)])
    write_text(path, text.getvalue())


def _row(scores: CaseScores, columns: list[tuple[str, str]]) -> list[float]:
    return [scores.structures[s][m] if s else scores.mean_dice for s, m in columns]


def _difference(
    first: NDArray, second: NDArray, ci95: tuple[float, float], p: tuple[float, float, float], metric: str
) -> Difference:
    differences = first - second
    mean, changed = float(differences.mean()), int(np.count_nonzero(differences))
    if changed == 0:
        says = "equal"
    elif changed < FEWEST:
        says = "few"
    elif not (p[0] < LEVEL and (ci95[0] > 0 or ci95[1] < 0)):
        says = "none"
    else:
        says = {1: "first", -1: "second", 0: "differs"}[better(metric) * (1 if mean > 0 else -1)]
    return Difference(
        mean_first=float(first.mean()),
        mean_second=float(second.mean()),
        mean=mean,
        median=float(np.median(differences)),
        ci95=(float(ci95[0]), float(ci95[1])),
        n=len(first),
        changed=changed,
        p_wilcoxon=float(p[0]),
        p_permutation=float(p[1]),
        p_holm=float(p[2]),
        better=better(metric),
        says=says,
    )


def _wilcoxon(differences: NDArray[np.float64]) -> float:
    """Two-sided p of the signed-rank test over the differences that are not 0; 1 where there is none."""
    from scipy.stats import wilcoxon  # takes a second to import, which only a comparison pays

    untied = differences[differences != 0]
    return float(wilcoxon(untied).pvalue) if untied.size else 1.0


def _permutation(differences: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Two-sided p, (K,), of the means of (n, K) differences: each case's sign flipped, all ways or 10,000 at random."""
    n = len(differences)
    target = np.abs(differences.sum(axis=0)) * (1 - 1e-9)
    if 2**n <= FLIPS:
        signs = 1.0 - 2.0 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
        return (np.abs(signs @ differences) >= target).mean(axis=0)
    random, hits = np.random.default_rng(seed), np.ones(differences.shape[1])  # as it came is one of the ways
    for _ in range(FLIPS // 1000):
        signs = random.choice([-1.0, 1.0], size=(1000, n))
        hits += (np.abs(signs @ differences) >= target).sum(axis=0)
    return hits / (FLIPS + 1)


def _holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Holm's correction (1979): the smallest of m times m, the next times m - 1, never falling, at most 1."""
    order = np.argsort(p, kind="stable")
    out = np.empty_like(p)
    out[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return out
