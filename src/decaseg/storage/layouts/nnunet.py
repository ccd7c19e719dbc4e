"""nnU-Net's raw folders, version 2 and 1: a file a channel, `imagesTr/case_0000.nii.gz`, and `labelsTr/case.nii.gz`.

Source: nnU-Net's documentation of its data set format (dataset.json with channel_names, labels, regions_class_order,
file_ending and, since 2.2, `dataset`, which says where each case's files are).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decaseg.storage.dataset import CaseFiles, Dataset, Region
from decaseg.storage.files import read_json
from decaseg.storage.layouts.layout import Layout
from decaseg.storage.layouts.listing import channel_names, inside, label_names, number, structure_names

NUMBERED = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")
ENDINGS = (".nii.gz", ".nii")


def numbered(stem: str) -> tuple[str, int] | None:
    """`BRATS_001_0003` -> (`BRATS_001`, 3); None where the name does not end like that."""
    match = NUMBERED.fullmatch(stem)
    return (match["case"], int(match["channel"])) if match else None


def fits(root: Path) -> bool:
    """Is there a dataset.json that lists no files itself, or whose listed files lie there a channel each?"""
    if not (root / "dataset.json").is_file():
        return False
    try:
        document = read_json(root / "dataset.json")
    except ValueError:
        return False  # the Decathlon's reader says what is wrong with it
    if not isinstance(document, dict):
        return False
    if not document.get("training"):
        return "channel_names" in document or "file_ending" in document or isinstance(document.get("dataset"), dict)
    ending = str(document.get("file_ending", ENDINGS[0]))
    first = document["training"][0] if isinstance(document["training"], list) else None
    image = first.get("image") if isinstance(first, dict) else first
    if not isinstance(image, str):
        return False
    path = root / image.replace("\\", "/")
    try:
        return not path.exists() and path.with_name(path.name.removesuffix(ending) + f"_0000{ending}").exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


@dataclass(frozen=True)
class Labels:
    """What dataset.json says of labels."""

    names: Mapping[int, str]
    regions: tuple[Region, ...]
    ignore: int | None


def read(root: Path) -> Dataset:
    """The data set; cases without a label map, or with a channel missing, keep the names of the files they lack."""
    path = root / "dataset.json"
    document = read_json(path)
    if not isinstance(document, dict):
        raise ValueError(f'{path}: must hold a JSON object; start it with {{ and add "channel_names" and "labels"')
    ending = document.get("file_ending", ENDINGS[0])
    if ending not in ENDINGS:
        raise ValueError(f"{path}: file_ending is {ending!r}, decaseg reads .nii.gz and .nii; convert the images")
    raw = document.get("channel_names", document.get("modality"))
    channels = channel_names(path, raw, may_repeat=True)
    labels = _labels(path, document)
    if isinstance(document.get("dataset"), dict):
        training, test = _listed(path, root, document["dataset"], len(channels)), tuple[CaseFiles, ...]()
    else:
        training = _scanned(root, "imagesTr", "labelsTr", ending, len(channels))
        test = _scanned(root, "imagesTs", None, ending, len(channels))
    if not training:
        raise ValueError(
            f"{root}: has no images imagesTr/<case>_0000{ending}; nnU-Net's raw folders have a file a channel"
        )
    name = str(document.get("name") or re.sub(r"^Dataset\d{3}_", "", root.resolve().name))
    said = document.get("numTraining")
    remarks: tuple[str, ...] = ()
    if isinstance(said, int) and said != len(training):
        remarks = (f"dataset.json says numTraining {said}, there are {len(training)} cases",)
    more: dict[str, Any] = {"source": path, "regions": labels.regions, "ignore": labels.ignore, "remarks": remarks}
    return Dataset(root, name, channels, labels.names, training, test, **more)


def _labels(path: Path, document: Mapping[str, Any]) -> Labels:
    """Labels as nnU-Net has them: name -> value, or for regions name -> values, with `ignore` set apart."""
    raw = document.get("labels")
    if not isinstance(raw, dict) or not raw:
        raise ValueError(f'{path}: has no "labels"; add e.g. {{"background": 0, "edema": 1}}')
    ignore = raw.get("ignore") if number(raw.get("ignore")) is not None else None
    raw = {name: values for name, values in raw.items() if not (name == "ignore" and ignore is not None)}
    if not any(isinstance(values, list) for values in raw.values()):
        names = label_names(path, raw)
        regions: tuple[Region, ...] = ()
    else:
        names, regions = _regions(path, raw, document.get("regions_class_order"))
    ignored = None if ignore is None else number(ignore)
    if ignored in names:
        raise ValueError(f"{path}: the value {ignored} is a structure and to be ignored; give ignore its own value")
    if ignored is not None and not 0 < ignored <= 255:
        raise ValueError(f"{path}: ignore is {ignored}; it must be a value from 1 to 255")
    return Labels(names, regions, ignored)


def _regions(path: Path, raw: Mapping[str, Any], order: Any) -> tuple[dict[int, str], tuple[Region, ...]]:
    wanted: dict[str, tuple[int, ...]] = {}
    for name, values in raw.items():
        found = [number(value) for value in (values if isinstance(values, list) else [values])]
        if not found or None in found:
            raise ValueError(f'{path}: label {name!r}: {values!r} is no list of values; write "whole": [1, 2, 3]')
        known = tuple(value for value in found if value is not None)
        if not all(0 <= value <= 255 for value in known):
            raise ValueError(f"{path}: label {name!r} has a value outside 0 to 255; number the labels from 0")
        if known != (0,):
            wanted[name] = known
    paint = [number(value) for value in order] if isinstance(order, list) else []
    if len(paint) != len(wanted) or None in paint or len(set(paint)) < len(paint):
        raise ValueError(
            f"{path}: regions_class_order {order!r} must give each of the {len(wanted)} regions the value that is "
            f"painted for it ({', '.join(wanted)}); write e.g. {list(range(1, len(wanted) + 1))}"
        )
    regions = tuple(
        Region(name, values, value)
        for (name, values), value in zip(wanted.items(), paint, strict=True)
        if value is not None
    )
    for region in regions:
        if region.paint not in region.labels:
            raise ValueError(f"{path}: region {region.name} is painted as {region.paint}, which is none of its values")
    values = sorted({value for region in regions for value in region.labels if value})
    return {0: "background"} | structure_names(values, {region.name: region.labels for region in regions}), regions


def _scanned(root: Path, images: str, labels: str | None, ending: str, channels: int) -> tuple[CaseFiles, ...]:
    """The cases that image files, or label files, name."""
    folder = root / images
    found = {
        parsed[0]
        for name in _names(folder, ending)
        if (parsed := numbered(name)) is not None
    }  # fmt: skip
    if labels is not None:
        found |= set(_names(root / labels, ending))
    cases = []
    for case in sorted(found):
        first, *more = (folder / f"{case}_{channel:04d}{ending}" for channel in range(channels))
        label = None if labels is None else root / labels / f"{case}{ending}"
        cases.append(CaseFiles(case, first, label, tuple(more)))
    return tuple(cases)


def _names(folder: Path, ending: str) -> list[str]:
    """The names of a folder's files without their ending."""
    if not folder.is_dir():
        return []
    return [p.name.removesuffix(ending) for p in folder.iterdir() if p.name.endswith(ending) and p.name[0] != "."]


def _listed(path: Path, root: Path, raw: Mapping[str, Any], channels: int) -> tuple[CaseFiles, ...]:
    """The cases of the key `dataset`: {case: {"images": [...], "label": ...}}, paths from dataset.json's folder."""
    cases = []
    for case, entry in raw.items():
        images = entry.get("images") if isinstance(entry, dict) else None
        label = entry.get("label") if isinstance(entry, dict) else None
        if not isinstance(images, list) or len(images) != channels or not all(isinstance(one, str) for one in images):
            raise ValueError(f'{path}: case {case!r} of "dataset" must name {channels} images, one a channel')
        if not isinstance(label, str):
            raise ValueError(f'{path}: case {case!r} of "dataset" has no label; name its file')
        first, *more = (inside(path, root, one) for one in images)
        cases.append(CaseFiles(case, first, inside(path, root, label), tuple(more)))
    return tuple(cases)


LAYOUT = Layout("an nnU-Net raw folder", "dataset.json beside imagesTr/<case>_0000.nii.gz", fits, read)
