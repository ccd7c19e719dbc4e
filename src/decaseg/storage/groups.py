"""Reads a CSV that says of each case which group it belongs to: a scanner, a site, a protocol."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

UNKNOWN = "unknown"


def read_groups(path: Path, column: str | None) -> tuple[str, Mapping[str, str]]:
    """The column's name and case -> group. Cases stand in the column `case`, or the first one.

    Commas, semicolons or tabs separate; a byte order mark and `.nii.gz` after a case's name do no harm. An empty cell
    is the group `unknown`. `column` may be left out where there is only one beside the cases'. A ValueError names the
    file, the line, and what to mend: a missing column, a case that stands twice, a line of another length.
    """
    header, *lines = _rows(path)
    names = [name.strip() for name in header]
    at = next((i for i, name in enumerate(names) if name.lower() == "case"), 0)
    groups = [name for i, name in enumerate(names) if i != at]
    if column is None and len(groups) == 1:
        column = groups[0]
    if column is None or column not in groups:
        asked = "--group-by is missing" if column is None else f"has no column {column!r} to group by"
        raise ValueError(f"{path}: {asked}; choose --group-by from {', '.join(groups) or 'more than one column'}")
    if names.count(column) > 1:
        raise ValueError(f"{path}: has the column {column!r} twice; give each its own name")
    found: dict[str, str] = {}
    for number, row in enumerate(lines, 2):
        if len(row) != len(names):
            raise ValueError(f"{path}: row {number} has {len(row)} cells, the header {len(names)}; mend that row")
        case = row[at].strip().removesuffix(".gz").removesuffix(".nii")
        if not case:
            raise ValueError(f"{path}: row {number} names no case; write its name under {names[at] or 'case'}")
        if case in found:
            raise ValueError(f"{path}: row {number} has case {case} a second time; keep one of the two")
        found[case] = row[names.index(column)].strip() or UNKNOWN
    return column, found


def _rows(path: Path) -> Sequence[Sequence[str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file; name a CSV with a line a case") from None
    except IsADirectoryError:
        raise ValueError(f"{path}: is a folder; name a CSV with a line a case") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not UTF-8 text; save it as CSV in UTF-8") from None
    first = text.partition("\n")[0]
    separator = max((",", ";", "\t"), key=first.count)
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=separator) if any(cell.strip() for cell in row)]
    if len(rows) < 2:
        raise ValueError(f"{path}: has no lines of cases; write a header and a line a case, e.g. case,scanner")
    return rows
