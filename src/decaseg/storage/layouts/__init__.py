"""Which layouts of data sets are known, and which one a folder has. A layout is a file here and a line in `LAYOUTS`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from decaseg.storage.dataset import Dataset
from decaseg.storage.layouts import bids, brats, decathlon, nnunet, table
from decaseg.storage.layouts.layout import Layout

# Where a folder fits several, the first one is taken, which is said; --layout takes another.
LAYOUTS: dict[str, Layout] = {
    "csv": table.LAYOUT,
    "decathlon": decathlon.LAYOUT,
    "nnunet": nnunet.LAYOUT,
    "brats": brats.LAYOUT,
    "bids": bids.LAYOUT,
}


def read_dataset(root: Path | str, layout: str | None = None) -> Dataset:
    """The data set in a folder, or in a CSV of paths, by the layout it has or the one that is named.

    ValueError, in one line, where there is none: it lists what was looked for.
    """
    root = Path(root)
    if layout is not None and layout not in LAYOUTS:
        raise ValueError(f"--layout {layout}: choose one of {', '.join(LAYOUTS)}")
    if not root.exists():
        raise ValueError(f"{root}: there is no such folder; DATASET is a folder with dataset.json, or another layout's")
    fitting = [name for name, one in LAYOUTS.items() if one.fits(root)]
    if layout is not None:
        if layout not in fitting and not (root / "dataset.json").is_file():
            raise ValueError(
                f"{root}: has no {LAYOUTS[layout].looked_for}, so it is not {LAYOUTS[layout].words}; leave out --layout"
            )
        return _read(root, layout)
    if not fitting:
        raise ValueError(_nothing(root))
    dataset = _read(root, fitting[0])
    if len(fitting) > 1:
        others = " or ".join(f"--layout {name}" for name in fitting[1:])
        dataset = replace(dataset, remarks=(*dataset.remarks, f"it could be read otherwise too: {others}"))
    return dataset


def _nothing(root: Path) -> str:
    """In one line: all that was looked for, and a CSV that may be meant."""
    looked_for = ", ".join(f"no {one.looked_for} ({name})" for name, one in LAYOUTS.items() if name != "csv")
    tables = sorted(root.glob("*.csv")) if root.is_dir() else []
    way_out = f"name the file itself: {tables[0]}" if len(tables) == 1 else "name the folder of a data set, or a .csv"
    return f"{root}: has {looked_for}, so it is no data set; {way_out}"


def _read(root: Path, name: str) -> Dataset:
    dataset = LAYOUTS[name].read(root)
    training, test = (
        tuple(replace(files, structures=dataset.structures, channels=dataset.channels) for files in part)
        for part in (dataset.training, dataset.test)
    )
    return replace(dataset, layout=LAYOUTS[name].words, training=training, test=test)


__all__ = ["LAYOUTS", "Layout", "read_dataset"]
