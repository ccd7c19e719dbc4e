"""A CSV of paths: a line a case, for whatever lies anywhere."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from decaseg.storage import nifti
from decaseg.storage.dataset import CaseFiles, Dataset
from decaseg.storage.label_names import NAMES_FILE, occurring, read_names
from decaseg.storage.layouts.layout import Layout

ENDINGS = (".csv", ".tsv")
SPLITS = {"": "", "train": "train", "training": "train", "val": "val", "validation": "val", "valid": "val",
          "test": "test"}  # fmt: skip
KNOWN = ("case", "image", "label", "group", "split")


def fits(root: Path) -> bool:
    """Is it a file named .csv or .tsv?"""
    return root.is_file() and root.name.endswith(ENDINGS)


def read(path: Path) -> Dataset:
    """Columns `case`, `label`, `image` or a column a channel under the channel's name, and `group`, `split` if wanted.

    Paths are relative to the file's folder. Columns that hold no NIfTI names are passed over. ValueError names file
    and line.
    """
    rows = _rows(path)
    columns = list(rows[0])
    channels = ["image"] if "image" in columns else [c for c in columns if c not in KNOWN and _holds_images(rows, c)]
    if not channels or "label" not in columns:
        raise ValueError(
            f"{path}: its columns are {', '.join(columns)}; name them case, image (or a column a channel) and label"
        )
    training, test, seen = list[CaseFiles](), list[CaseFiles](), dict[str, int]()
    for line, row in enumerate(rows, 2):
        missing = [channel for channel in channels if not row[channel]]
        if missing:
            raise ValueError(f"{path}: line {line} has no {missing[0]}; write the file's path or take the line out")
        first, *more = (_file(path, row[channel]) for channel in channels)
        case = row.get("case") or nifti.case_name(first)
        if case in seen:
            raise ValueError(
                f"{path}: line {line} has the case {case} of line {seen[case]} again; give each its own name"
            )
        if not case.isprintable() or "/" in case or "\\" in case or case.startswith("."):
            raise ValueError(
                f"{path}: line {line} has the case {case!r}, which cannot be a file's name; use letters and digits"
            )
        seen[case] = line
        split = SPLITS.get(row.get("split", "").lower())
        if split is None:
            raise ValueError(f"{path}: line {line} has the split {row['split']!r}; write train, val, test or nothing")
        label = _file(path, row["label"]) if row["label"] else None
        files = CaseFiles(case, first, label, tuple(more), row.get("group", ""), "" if split == "test" else split)
        (test if label is None or split == "test" else training).append(files)
    if not training:
        raise ValueError(f"{path}: no line has a label; write the label map's path in the column label")
    remarks = []
    if passed := [c for c in columns if c not in (*KNOWN, *channels)]:
        remarks.append(f"columns that are not used: {', '.join(passed)}")
    names = path.with_name(NAMES_FILE)
    labels = read_names(names) if names.is_file() else occurring([one.label for one in training if one.label])
    called = _channels(channels, training[0])
    return Dataset(
        path, path.stem, called, labels, tuple(training), tuple(test), source=path, remarks=tuple(remarks)
    )  # fmt: skip


def _rows(path: Path) -> list[dict[str, str]]:
    """The lines by lower-case column names; comma, semicolon or tab, whichever the first line has most of."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            delimiter = max("\t;,", key=first.count)
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            lines = [[cell.strip() for cell in line] for line in reader if any(cell.strip() for cell in line)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: cannot be read ({error}); write it as a CSV in UTF-8") from None
    if len(lines) < 2:
        raise ValueError(f"{path}: has no cases; write a line of column names and then a line a case")
    columns = [name.lower() if name.lower() in KNOWN else name for name in lines[0]]
    if len(set(columns)) < len(columns):
        raise ValueError(f"{path}: two columns have the same name; give each its own")
    for place, line in enumerate(lines[1:], 2):
        if len(line) > len(columns):
            raise ValueError(f"{path}: line {place} has {len(line)} cells, the first line {len(columns)}; mend it")
    return [dict.fromkeys(columns, "") | dict(zip(columns, line, strict=False)) for line in lines[1:]]


def _holds_images(rows: Sequence[Mapping[str, str]], column: str) -> bool:
    return bool(column) and any(row[column].endswith(nifti.SUFFIXES) for row in rows)


def _file(path: Path, name: str) -> Path:
    if not name.isprintable():
        raise ValueError(f"{path}: {name!r} is not a file name; write plain names")
    return path.parent / name.replace("\\", "/")


def _channels(columns: Sequence[str], files: CaseFiles) -> tuple[str, ...]:
    """The columns' names; an image of several channels in one file has them numbered."""
    if columns != ["image"]:
        return tuple(columns)
    try:
        count = nifti.read_grid(files.image)[1]
    except nifti.NiftiError:  # the check names it
        count = 1
    return ("image",) if count == 1 else tuple(f"channel {place}" for place in range(count))


LAYOUT = Layout("a CSV of paths", "name ending in .csv", fits, read)
