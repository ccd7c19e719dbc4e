"""Names of label values where no dataset.json tells them: a dseg.tsv after BIDS, else the values that occur."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from decaseg.storage import nifti

NAMES_FILE = "dseg.tsv"  # BIDS' name for it; columns index and name
MOST_VALUES = 255
THREADS = 4


def read_names(path: Path) -> dict[int, str]:
    """Label value -> name from a tab-separated file with columns `index` and `name`; the background is 0.

    ValueError names the file and what is wrong with it.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: cannot be read ({error}); write it as UTF-8 text with tabs") from None
    found = {0: "background"}
    for row in rows:
        index, name = (row.get("index") or "").strip(), (row.get("name") or "").strip()
        if not index.isdecimal() or int(index) > MOST_VALUES or not name:
            raise ValueError(f"{path}: {dict(row)} is no label; give it columns index (0 to 255) and name, with tabs")
        if int(index) in found and int(index):
            raise ValueError(f"{path}: label {index} is named twice; keep one of the names")
        found[int(index)] = name
    if len(found) < 2:
        raise ValueError(f"{path}: names no structure; add a line with index and name for each")
    if len(set(found.values())) < len(found):
        raise ValueError(f"{path}: two labels have the same name; give each its own")
    return dict(sorted(found.items()))


def occurring(labels: Sequence[Path]) -> dict[int, str]:
    """Names for the values that occur: `label 1`, `label 2` …; a lone value is the `structure`.

    Every label map is read once. Files that cannot be read are passed over: the check names them. ValueError for a
    file that is an image rather than a label map.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        values = sorted(set().union(*pool.map(_values, labels)) - {0})
    named = {value: "structure" if len(values) == 1 else f"label {value}" for value in values}
    return {0: "background"} | (named or {1: "structure"})


def _values(path: Path) -> set[int]:
    try:
        array = nifti.read(path).array
    except nifti.NiftiError:
        return set()
    found = np.unique(array)
    whole = found[np.isfinite(found)]
    if len(whole) > MOST_VALUES or whole.min(initial=0) < 0 or whole.max(initial=0) > MOST_VALUES:
        raise ValueError(
            f"{path}: holds {len(whole):,} values from {whole.min():g} to {whole.max():g}, so it is no label map; "
            "name the label map, or its values in a dseg.tsv"
        )
    return {int(value) for value in whole if value == np.rint(value)}
