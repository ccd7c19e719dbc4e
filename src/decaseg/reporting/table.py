"""Facts as a table in the terminal, and numbers in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO


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


def number(value: float) -> str:
    """Three decimals for what is small, fewer for what is large: 0.873, 12.41, 1203.5."""
    return f"{value:.{3 if abs(value) < 10 else 2 if abs(value) < 1000 else 1}f}"
