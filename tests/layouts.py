"""Writes a data set again in other layouts, for tests: nnU-Net's, BraTS', BIDS' and a CSV of paths.

Files are split into channels where a layout has a file a channel; one-channel files become links.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from decaseg.storage import nifti
from decaseg.storage.dataset import CaseFiles, Dataset
from decaseg.storage.layouts import read_dataset
from decaseg.volume import Volume

BRATS = {"FLAIR": "t2f", "T1w": "t1n", "t1gd": "t1c", "T2w": "t2w"}
BRATS_2021 = {"FLAIR": "flair", "T1w": "t1", "t1gd": "t1ce", "T2w": "t2"}
BIDS = {"FLAIR": "FLAIR", "T1w": "T1w", "t1gd": "ce-gadolinium_T1w", "T2w": "T2w"}


def put(source: Path, target: Path, channel: int | None = None, values: dict[int, int] | None = None) -> Path:
    """One channel of a file, or a label map with other values, at `target`; a link where nothing changes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if values is None and target.name.endswith(".nii.gz") and (channel is None or nifti.read_grid(source)[1] == 1):
        target.symlink_to(source.resolve())
        return target
    volume = nifti.read(source)
    array = volume.array if channel is None else volume.array[channel]
    if values is not None:
        array = np.select([array == value for value in values], list(values.values()), array.astype(int)).astype(
            np.uint8
        )
    nifti.write(target, Volume(array if array.ndim == 4 else array[None], volume.grid))
    return target


def cases_of(root: Path) -> Iterator[tuple[Dataset, CaseFiles]]:
    dataset = read_dataset(root)
    return ((dataset, files) for files in dataset.training)


def nnunet(source: Path, root: Path, **changes: object) -> Path:
    """imagesTr/case_0000.nii.gz, labelsTr/case.nii.gz and a dataset.json of version 2."""
    for dataset, files in cases_of(source):
        for channel in range(len(dataset.channels)):
            put(files.image, root / "imagesTr" / f"{files.case}_{channel:04d}.nii.gz", channel)
        put(files.label, root / "labelsTr" / f"{files.case}.nii.gz")
    document = {
        "channel_names": {str(i): name for i, name in enumerate(dataset.channels)},
        "labels": {name: value for value, name in dataset.labels.items()},
        "numTraining": len(dataset.training),
        "file_ending": ".nii.gz",
        "name": dataset.name,
    }
    (root / "dataset.json").write_text(json.dumps(document | changes))
    return root


def brats(
    source: Path,
    root: Path,
    name: Callable[[int], str],
    called: dict[str, str],
    sep: str,
    values=None,
    ending=".nii.gz",
) -> Path:
    """A folder a case; `called` says what each contrast is called, `sep` stands before it."""
    for number, (dataset, files) in enumerate(cases_of(source)):
        case = name(number)
        for channel, contrast in enumerate(dataset.channels):
            put(files.image, root / case / f"{case}{sep}{called[contrast]}{ending}", channel)
        put(files.label, root / case / f"{case}{sep}seg{ending}", values=values)
    return root


def bids(source: Path, root: Path, session: bool = False, names: bool = True) -> Path:
    """Images in sub-01/anat, label maps in derivatives/manual/sub-01/anat."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset_description.json").write_text(json.dumps({"Name": "Synthetic", "BIDSVersion": "1.10.0"}))
    for number, (dataset, files) in enumerate(cases_of(source), 1):
        subject, visit = (f"{(number + 1) // 2:02d}", f"{number}") if session else (f"{number:02d}", "")
        folder = Path(f"sub-{subject}") / (f"ses-{visit}" if visit else "") / "anat"
        stem = f"sub-{subject}" + (f"_ses-{visit}" if visit else "")
        for channel, contrast in enumerate(dataset.channels):
            put(files.image, root / folder / f"{stem}_{BIDS.get(contrast, 'T1w')}.nii.gz", channel)
        put(files.label, root / "derivatives" / "manual" / folder / f"{stem}_dseg.nii.gz")
    if names:
        lines = [f"{value}\t{name}" for value, name in dataset.labels.items()]
        (root / "derivatives" / "manual" / "dseg.tsv").write_text("\n".join(["index\tname", *lines]) + "\n")
    return root


def table(source: Path, path: Path, extra: Callable[[int], dict[str, str]] = lambda _: {}, sep: str = ",") -> Path:
    """A CSV beside nothing, with paths relative to it, and the names of labels in a dseg.tsv."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, (dataset, files) in enumerate(cases_of(source)):
        row = {"case": files.case, "label": str(files.label.resolve())}
        for channel, name in enumerate(dataset.channels):
            row[name] = (
                put(files.image, path.parent / "images" / f"{files.case}-{channel}.nii.gz", channel)
                .relative_to(path.parent)
                .as_posix()
            )
        row |= extra(number)
        lines.append(sep.join(row.values()))
    path.write_text("\n".join([sep.join(row), *lines]) + "\n")
    (path.parent / "dseg.tsv").write_text(
        "\n".join(["index\tname", *(f"{v}\t{name}" for v, name in dataset.labels.items())]) + "\n"
    )
    return path
