"""Scores as a table in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, Any


def print_scores(document: Mapping[str, Any], file: IO[str] | None = None) -> None:
    """Prints a metrics.json document: a line a structure and metric, with mean, 95 % interval and median.

    `file` is standard output where it is None. Where that is no terminal the table is 80 columns wide and plain.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("structure", "metric", title_justify="left")
    for heading in ("mean", "95 % interval", "median", "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    for structure, metrics in document["structures"].items():
        for row, (metric, value) in enumerate(metrics.items()):
            low, high = value["ci95"]
            table.add_row(
                Text(structure if row == 0 else ""),
                Text(metric),
                _number(value["mean"]),
                f"{_number(low)} to {_number(high)}",
                _number(value["median"]),
                str(value["n"]),
            )
        table.add_section()
    console = Console(file=file, highlight=False)
    console.print(table)
    console.print(f"mean Dice {_number(document['mean_dice'])} (mean over structures of the mean over cases)")


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


def _number(value: float) -> str:
    """Three decimals for what is small, fewer for what is large: 0.873, 12.41, 1203.5."""
    return f"{value:.{3 if abs(value) < 10 else 2 if abs(value) < 1000 else 1}f}"
