"""Reads `dataset.json` as the Medical Segmentation Decathlon writes it, and as people really have it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from decaseg.storage.dataset import CaseFiles, Dataset
from decaseg.storage.files import read_json
from decaseg.storage.layouts import nnunet
from decaseg.storage.layouts.layout import Layout
from decaseg.storage.layouts.listing import channel_names, inside, label_names
from decaseg.storage.nifti import case_name


def fits(root: Path) -> bool:
    """Is there a dataset.json that is not plainly another layout's?"""
    return (root / "dataset.json").is_file() and not nnunet.fits(root)


def read(root: Path) -> Dataset:
    """Reads `root/dataset.json`; a ValueError names the file, the fault and the way out.

    Accepts MSD's own quirks: `relase`, `./` prefixes, Windows separators, missing counts, extra keys, labels as
    {"0": "background"} or {"background": 0}, channels under `modality` or `channel_names`, training
    images listed without their labels.
    """
    path = root / "dataset.json"
    document = read_json(path)
    if not isinstance(document, dict):
        raise ValueError(f'{path}: must hold a JSON object; start it with {{ and add "labels" and "training"')
    labels = label_names(path, document.get("labels"))
    training = _cases(path, root, document.get("training"), "training")
    if not training:
        raise ValueError(f'{path}: lists no training cases; add pairs of image and label under "training"')
    channels = channel_names(path, document.get("modality", document.get("channel_names")))
    test = _cases(path, root, document.get("test", []), "test")
    return Dataset(root, str(document.get("name", root.name)), channels, labels, training, test, source=path)


def _cases(path: Path, root: Path, raw: Any, key: str) -> tuple[CaseFiles, ...]:
    if raw is None:
        raw = []
    if not isinstance(raw, list):
        raise ValueError(f'{path}: "{key}" is not a list; write [{{"image": "./imagesTr/a.nii.gz", "label": …}}]')
    cases: dict[str, CaseFiles] = {}
    for entry in raw:
        image, label = (entry.get("image"), entry.get("label")) if isinstance(entry, dict) else (entry, None)
        if key == "training" and isinstance(entry, str):
            label = _label_of(entry)
        if not isinstance(image, str) or not (label is None or isinstance(label, str)):
            raise ValueError(f'{path}: "{key}" has the entry {entry!r}; each must name an image (and a label) by path')
        if key == "training" and label is None:
            raise ValueError(f'{path}: training image {image} has no label; add its label or move it to "test"')
        files = CaseFiles("", inside(path, root, image), None if label is None else inside(path, root, label))
        files = replace(files, case=case_name(files.image))
        if files.image == files.label:
            raise ValueError(f"{path}: case {files.case} has one file as image and label; name the label's own file")
        if files.case in cases:
            raise ValueError(f'{path}: case {files.case} is listed twice under "{key}"; keep one')
        cases[files.case] = files
    return tuple(cases.values())


def _label_of(image: str) -> str | None:
    """Where the label map of an image lies that is listed by itself: under the same name in labelsTr."""
    parts = image.replace("\\", "/").split("/")
    if len(parts) < 2 or parts[-2] != "imagesTr":
        return None
    return "/".join((*parts[:-2], "labelsTr", parts[-1]))


LAYOUT = Layout("a Decathlon folder", "dataset.json with a list of cases", fits, read)
