"""Scores in the terminal: a line a structure with its bar, in 80 columns, with or without colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from decaseg.reporting.material import is_number
from decaseg.reporting.table import number

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

BAR_CELLS = 10
EIGHTHS = " ▏▎▍▌▋▊▉█"
PURPLE = "#b25cff"  # of what is right, as in the overlays
WORST = 3
# What stands in a line, after the metric that has bar and interval; all the rest is in metrics.json.
COLUMNS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "dice": (("hd95_mm", "HD95"), ("nsd", "NSD"), ("sensitivity", "sens."), ("precision", "prec.")),
    "lesion_dice": (
        ("lesion_hd95_mm", "HD95"), ("lesions_found", "found"),
        ("lesions_missed", "missed"), ("lesions_false", "false"),
    ),
}  # fmt: skip
HEADINGS = {"dice": "Dice", "lesion_dice": "Dice lesion by lesion"}


def print_scores(document: Mapping[str, Any], file: IO[str] | None = None) -> None:
    """Prints a metrics.json document: the mean Dice, a line a structure, groups, and the worst cases.

    `file` is standard output where it is None. Where that is no terminal the table is 80 columns wide and plain.
    Distances are in millimetres; of metrics without a column the names are given.
    """
    from rich.console import Console

    console = Console(file=file, highlight=False)
    structures = document["structures"]
    for metric in COLUMNS:
        if any(metric in row for row in structures.values()):
            console.print(_by_structure(console, metric, structures))
            console.print()
    if groups := document.get("groups"):
        console.print(_by_group(console, groups))
        console.print()
    _print_worst(console, document.get("cases", {}))
    _print_rest(console, structures)
    interval = _interval(document.get("mean_dice_statistics", {})) or "not given"
    console.print(f"mean Dice {number(document['mean_dice'])}, 95 % interval {interval} (over structures, then cases)")


def _table(console: Console, first: str, heading: str, more: Sequence[str]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold" if console.color_system else "")
    table.add_column(escape(first), max_width=24)  # the only one that may wrap, so it gives way to the numbers
    table.add_column(escape(heading), no_wrap=True, min_width=BAR_CELLS)
    for words in ("mean", "95 % interval", *more, "n"):
        table.add_column(words, justify="right", no_wrap=True)
    return table


def _by_structure(console: Console, metric: str, structures: Mapping[str, Mapping[str, Any]]) -> Table:
    columns = [(key, words) for key, words in COLUMNS[metric] if any(key in row for row in structures.values())]
    table = _table(console, "structure", HEADINGS[metric], [words for _, words in columns])
    for name, row in structures.items():
        if metric in row:
            others = [_mean(row.get(key)) for key, _ in columns]
            _add(console, table, name, row[metric], others)
    return table


def _by_group(console: Console, groups: Mapping[str, Any]) -> Table:
    """A line a group, and below it one a structure where there are several."""
    table = _table(console, str(groups["column"]), "Dice", ())
    for name, group in groups["groups"].items():
        _add(console, table, name, group["mean_dice_statistics"], ())
        if len(group["structures"]) > 1:
            for structure, metrics in group["structures"].items():
                _add(console, table, f"  {structure}", metrics["dice"], ())
    return table


def _add(console: Console, table: Table, name: str, statistic: Mapping[str, Any], more: Sequence[str]) -> None:
    from rich.text import Text

    bar = Text(_bar(console, statistic["mean"]), style=PURPLE if console.color_system else "")
    cells = (number(statistic["mean"]), _interval(statistic), *more, str(statistic["n"]))
    table.add_row(Text(name), bar, *(Text(cell) for cell in cells))


def _print_worst(console: Console, cases: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    """The cases with the lowest mean Dice: what is worth looking at first."""
    from rich.text import Text

    means = {}
    for case, rows in cases.items():
        dice = [row["dice"] for row in rows.values() if is_number(row.get("dice"))]
        if dice:
            means[case] = sum(dice) / len(dice)
    if len(means) < 2:
        return
    worst = sorted(means, key=lambda case: (means[case], case))[:WORST]
    line = ", ".join(f"{case} {means[case]:.3f}" for case in worst)
    console.print(Text(f"lowest Dice: {line}"))


def _print_rest(console: Console, structures: Mapping[str, Mapping[str, Any]]) -> None:
    from rich.text import Text

    shown = {key for metric, columns in COLUMNS.items() for key in (metric, *(key for key, _ in columns))}
    rest = list(dict.fromkeys(metric for row in structures.values() for metric in row if metric not in shown))
    if rest:
        console.print(Text(f"also in metrics.json, all with medians: {', '.join(rest)}"))


def _bar(console: Console, share: float) -> str:
    """A bar of BAR_CELLS letters: eighths of a block, or number signs where the terminal has no such letters."""
    cells = BAR_CELLS * min(1.0, max(0.0, share))
    if not console.encoding.lower().startswith("utf"):
        return "#" * round(cells)
    eighths = round(8 * cells)
    return EIGHTHS[-1] * (eighths // 8) + EIGHTHS[eighths % 8].strip()


def _mean(statistic: Mapping[str, Any] | None) -> str:
    return "" if statistic is None or not is_number(statistic.get("mean")) else number(statistic["mean"])


def _interval(statistic: Mapping[str, Any]) -> str:
    if "ci95" not in statistic:
        return ""
    low, high = statistic["ci95"]
    return f"{number(low)} to {number(high)}"
