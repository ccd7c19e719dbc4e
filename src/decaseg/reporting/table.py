"""Scores as a table in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, Any

HEADINGS = ("mean", "95 % interval", "median", "n")


def print_scores(document: Mapping[str, Any], file: IO[str] | None = None) -> None:
    """Prints a metrics.json document: a line a structure and metric, with mean, 95 % interval and median; then groups.

    `file` is standard output where it is None. Where that is no terminal the table is 80 columns wide and plain.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    table = Table("structure", "metric", title_justify="left")
    for heading in HEADINGS:
        table.add_column(heading, justify="right", no_wrap=True)
    for structure, metrics in document["structures"].items():
        for row, (metric, value) in enumerate(metrics.items()):
            table.add_row(Text(structure if row == 0 else ""), Text(metric), *_statistic(value))
        table.add_section()
    console = Console(file=file, highlight=False)
    console.print(table)
    if groups := document.get("groups"):
        table = Table(escape(str(groups["column"])), "Dice of")
        for heading in HEADINGS:
            table.add_column(heading, justify="right", no_wrap=True)
        for name, group in groups["groups"].items():
            rows = {"all": group["mean_dice_statistics"]}
            if len(group["structures"]) > 1:
                rows |= {structure: metrics["dice"] for structure, metrics in group["structures"].items()}
            for row, (structure, value) in enumerate(rows.items()):
                table.add_row(Text(name if row == 0 else ""), Text(structure), *_statistic(value))
            table.add_section()
        console.print(table)
    interval = _statistic(document["mean_dice_statistics"])[1] if "mean_dice_statistics" in document else "not given"
    console.print(f"mean Dice {number(document['mean_dice'])}, 95 % interval {interval} (over structures, then cases)")


def print_facts(title: str, rows: Sequence[tuple[str, str, str]], file: IO[str] | None = None) -> None:
    """Prints (what, value, why) rows under a title; `file` is standard output where it is None."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column()
    table.add_column(style="dim")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(file=file, highlight=False).print(table)


def print_columns(
    title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], file: IO[str] | None = None
) -> None:
    """Prints rows under headings; the first column does not break, short rows are filled, text columns wrap."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, heading in enumerate(headings):
        table.add_column(heading, no_wrap=place == 0, style="dim" if heading in ("because", "choose with") else "")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row), *("",) * (len(headings) - len(row)))
    console = Console(file=file, highlight=False)
    console.print(Text(title, style="bold"))
    console.print(table)
    console.print()


def _statistic(value: Mapping[str, Any]) -> tuple[str, str, str, str]:
    low, high = value["ci95"]
    return number(value["mean"]), f"{number(low)} to {number(high)}", number(value["median"]), str(value["n"])


def number(value: float) -> str:
    """Three decimals for what is small, fewer for what is large: 0.873, 12.41, 1203.5."""
    return f"{value:.{3 if abs(value) < 10 else 2 if abs(value) < 1000 else 1}f}"
