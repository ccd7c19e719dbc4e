"""From the scores of cases to the numbers of a report: means, medians, spread and intervals over cases."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decaseg.metrics.case import CaseScores
from decaseg.storage.files import write_text

RESAMPLES = 10_000
CHUNK = 1_000  # resamples drawn at a time: 1,000 cases then take 8 MB, not 80


@dataclass(frozen=True)
class Statistic:
    """One metric of one structure over `n` cases. `std` is the sample's (n - 1), 0 for one case.

    `quartiles` are the 25th and the 75th percentile of the cases, `ci95` the bootstrap's interval of the mean.
    """

    mean: float
    median: float
    std: float
    quartiles: tuple[float, float]
    ci95: tuple[float, float]
    n: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"quartiles": list(self.quartiles), "ci95": list(self.ci95)}

    @classmethod
    def of(cls, values: NDArray[np.float64], ci95: tuple[float, float]) -> Statistic:
        """Of (n,) values, n at least 1, with an interval that is known already."""
        n = len(values)
        low, high = np.percentile(values, [25.0, 75.0])
        std = float(values.std(ddof=1)) if n > 1 else 0.0
        return cls(math.fsum(values) / n, float(np.median(values)), std, (float(low), float(high)), ci95, n)


@dataclass(frozen=True)
class Summary:
    """What metrics.json holds. `mean_dice` is the mean over structures of the mean over cases.

    `mean_dice_statistics` is of the cases' own means over structures; its mean is `mean_dice`. `notes` are added to the
    document as they are: how was scored, groups.
    """

    mean_dice: float
    mean_dice_statistics: Statistic
    structures: Mapping[str, Mapping[str, Statistic]]
    cases: Mapping[str, CaseScores]
    notes: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The metrics.json document."""
        cases = {
            case: {structure: dict(metrics) for structure, metrics in scores.structures.items()}
            for case, scores in self.cases.items()
        }
        return self.statistics_json() | {"cases": cases} | dict(self.notes)

    def statistics_json(self) -> dict[str, Any]:
        """The document without its cases."""
        return {
            "mean_dice": self.mean_dice,
            "mean_dice_statistics": self.mean_dice_statistics.to_json(),
            "structures": {
                structure: {metric: statistic.to_json() for metric, statistic in metrics.items()}
                for structure, metrics in self.structures.items()
            },
        }


def summarise(cases: Mapping[str, CaseScores], seed: int = 0) -> Summary:
    """Mean, median, standard deviation and 95 % interval of each metric of each structure.

    The interval is the percentile bootstrap's (Efron 1979): cases are drawn with replacement 10,000 times, the same
    draws for every structure and metric, and the 2.5th and 97.5th percentiles of the means are taken. It speaks of
    the choice of cases only, not of training anew; with one case it is that case's value twice. A ValueError says
    when there are no cases or when they do not have the same structures.
    """
    if not cases:
        raise ValueError("there are no cases to summarise; score at least one")
    first_name, first = next(iter(cases.items()))
    columns = [(structure, metric) for structure, metrics in first.structures.items() for metric in metrics]
    for name, scores in cases.items():
        if {(s, m) for s, metrics in scores.structures.items() for m in metrics} != set(columns):
            raise ValueError(f"case {name} was not scored for the structures and metrics of case {first_name}")
    values = np.array([[scores.structures[s][m] for s, m in columns] for scores in cases.values()], dtype=np.float64)
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise ValueError(f"case {list(cases)[row]}: {' '.join(columns[column])} is {values[row, column]}, not a number")
    own = np.array([scores.mean_dice for scores in cases.values()])
    low, high = bootstrap_ci95(np.column_stack([values, own]), seed)
    structures: dict[str, dict[str, Statistic]] = {structure: {} for structure in first.structures}
    for i, (structure, metric) in enumerate(columns):
        structures[structure][metric] = Statistic.of(values[:, i], (float(low[i]), float(high[i])))
    mean_dice = math.fsum(metrics["dice"].mean for metrics in structures.values()) / len(structures)
    return Summary(mean_dice, Statistic.of(own, (float(low[-1]), float(high[-1]))), structures, dict(cases))


def summarise_groups(cases: Mapping[str, CaseScores], group_of: Mapping[str, str]) -> dict[str, Summary]:
    """A summary a group, by the groups' names; `group_of` has a group for every case."""
    groups: dict[str, dict[str, CaseScores]] = {}
    for case, scores in cases.items():
        groups.setdefault(group_of[case], {})[case] = scores
    return {group: summarise(groups[group]) for group in sorted(groups)}


def bootstrap_ci95(values: NDArray[np.float64], seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Low and high ends, each (K,), of the 95 % percentile bootstrap of the means of (n, K) values over n.

    A resample is a multinomial count of how often each case was drawn, so the means are one matrix product.
    """
    n = len(values)
    random = np.random.default_rng(seed)
    means = np.concatenate(
        [random.multinomial(n, np.full(n, 1.0 / n), size=CHUNK) @ values / n for _ in range(RESAMPLES // CHUNK)]
    )
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    # A mean of equal values may miss them by a rounding error; no mean is outside of what it averages.
    return np.clip(low, values.min(axis=0), values.max(axis=0)), np.clip(high, values.min(axis=0), values.max(axis=0))


def write_csv(path: Path, cases: Mapping[str, CaseScores]) -> None:
    """One row a case and structure, the cases with the lowest mean Dice first; complete or absent."""
    worst_first = sorted(cases.items(), key=lambda item: (item[1].mean_dice, item[0]))
    metrics = list(next(iter(worst_first[0][1].structures.values()))) if worst_first else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "structure", *metrics])
    for case, scores in worst_first:
        for structure, values in scores.structures.items():
            writer.writerow([case, structure, *(round(values[metric], 6) for metric in metrics)])
    write_text(path, text.getvalue())
