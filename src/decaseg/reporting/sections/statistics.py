"""Tables of means and intervals: structures, every metric, groups; and of all cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from decaseg.reporting.material import Scores, is_number
from decaseg.reporting.words import MAIN_METRICS, metric_words, said

Cell = tuple[str, str]  # a mean and its interval, as text


@dataclass(frozen=True)
class Table:
    """Headings of the columns of numbers, and rows: a name, and a cell a column."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class Groups:
    """Dice by group: the column's name, and rows of name, n, and the cell of all and of each structure."""

    column: str
    rows: tuple[tuple[str, str, tuple[Cell, ...]], ...]


def structures_table(scores: Scores) -> Table:
    """The main metrics a structure, those that any structure has."""
    main = [m for m in MAIN_METRICS if any(m in metrics for metrics in scores.structures.values())]
    rows = [(name, tuple(cell(m, metrics.get(m)) for m in main)) for name, metrics in scores.structures.items()]
    return Table(tuple(metric_words(m) for m in main), tuple(rows))


def cell(metric: str, statistic: Mapping[str, Any] | None) -> Cell:
    """The mean and the interval, as text."""
    if statistic is None or not is_number(statistic.get("mean")):
        return "not given", ""
    return said(metric, statistic["mean"]), _range(metric, statistic.get("ci95"))


def _range(metric: str, ends: Any) -> str:
    found = interval_of(ends)
    return f"{said(metric, found[0]).split(' ')[0]} to {said(metric, found[1])}" if found else ""


def interval_of(value: Any) -> tuple[float, float] | None:
    """Two numbers as JSON has them; None where it is something else."""
    if isinstance(value, list | tuple) and len(value) == 2 and all(is_number(v) for v in value):
        return float(value[0]), float(value[1])
    return None


def all_statistics(scores: Scores) -> list[tuple[str, str, list[str]]]:
    """Structure, metric, and mean, interval, median, middle half, deviation and n as text."""
    rows = []
    for name, metrics in scores.structures.items():
        for metric, statistic in metrics.items():
            mean, interval = cell(metric, statistic)
            median, std = (said(metric, v) if is_number(v) else "" for v in map(statistic.get, ("median", "std")))
            half = _range(metric, statistic.get("quartiles"))
            rows.append((name, metric_words(metric), [mean, interval, median, half, std, str(statistic.get("n", ""))]))
    return rows


def groups_table(scores: Scores) -> Groups | None:
    """What `--groups` left in metrics.json; None where there is none, or it is something else."""
    note = scores.other.get("groups")
    groups = note.get("groups") if isinstance(note, Mapping) else None
    if not isinstance(note, Mapping) or not isinstance(groups, Mapping):
        return None
    rows = []
    for name, part in groups.items():
        structures = part.get("structures") if isinstance(part, Mapping) else None
        if isinstance(structures, Mapping):
            found = [part.get("mean_dice_statistics")]
            found += [s.get("dice") if isinstance(s, Mapping) else None for s in map(structures.get, scores.structures)]
            cells = tuple(cell("dice", statistic if isinstance(statistic, Mapping) else None) for statistic in found)
            rows.append((str(name), str(part.get("n", "")), cells))
    return Groups(str(note.get("column", "group")), tuple(rows)) if rows else None


def metrics_of(scores: Scores) -> Sequence[str]:
    """The metrics that any case has, in the order they are met."""
    return list(dict.fromkeys(m for rows in scores.cases.values() for row in rows.values() for m in row))
