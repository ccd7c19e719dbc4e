"""Reads `dataset.json` as the Medical Segmentation Decathlon writes it, and as people really have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from decaseg.storage.files import read_json
from decaseg.storage.nifti import case_name


@dataclass(frozen=True)
class CaseFiles:
    """One case: its id (the image's file name without .nii.gz), its image and, where there is one, its label."""

    case: str
    image: Path
    label: Path | None


@dataclass(frozen=True)
class Dataset:
    """What dataset.json says. `channels` and `labels` are ordered by number; labels hold the background as 0."""

    root: Path
    name: str
    channels: tuple[str, ...]
    labels: Mapping[int, str]
    training: tuple[CaseFiles, ...]
    test: tuple[CaseFiles, ...]

    @property
    def structures(self) -> dict[int, str]:
        """The labels without the background."""
        return {value: name for value, name in self.labels.items() if value != 0}

    def case(self, name: str) -> CaseFiles:
        for files in (*self.training, *self.test):
            if files.case == name:
                return files
        raise ValueError(f"{self.root / 'dataset.json'}: has no case {name!r}")


def read_dataset(root: Path) -> Dataset:
    """Reads `root/dataset.json`; a ValueError names the file, the fault and the way out.

    Accepts MSD's own quirks: `relase`, `./` prefixes, Windows separators, missing counts, extra keys, labels as
    {"0": "background"} or {"background": 0}, channels under `modality` or `channel_names`.
    """
    path = root / "dataset.json"
    if not root.is_dir():
        raise ValueError(f"{root}: there is no such folder; DATASET is a folder with dataset.json in it")
    if not path.is_file():
        raise ValueError(f"{root}: has no dataset.json; DATASET is a folder in the Decathlon's layout, e.g. Task04_Hippocampus")
    document = read_json(path)
    if not isinstance(document, dict):
        raise ValueError(f"{path}: must hold a JSON object with labels and training")
    labels = _labels(path, document.get("labels"))
    training = _cases(path, root, document.get("training"), "training")
    if not training:
        raise ValueError(f"{path}: lists no training cases; add pairs of image and label under \"training\"")
    channels = _channels(path, document.get("modality", document.get("channel_names")))
    test = _cases(path, root, document.get("test", []), "test")
    return Dataset(root, str(document.get("name", root.name)), channels, labels, training, test)


def _labels(path: Path, raw: Any) -> dict[int, str]:
    if not isinstance(raw, dict) or not raw:
        raise ValueError(f'{path}: has no "labels"; add e.g. {{"0": "background", "1": "edema"}}')
    found: dict[int, str] = {}
    for key, value in raw.items():
        try:
            number, name = (int(key), value) if str(key).lstrip("-").isdigit() else (int(value), key)
        except (TypeError, ValueError):
            raise ValueError(f'{path}: label {key!r}: {value!r} is not a number with a name; write "1": "edema"') from None
        if not 0 <= number <= 255:
            raise ValueError(f"{path}: label {number} is outside 0 to 255")
        if number in found:
            raise ValueError(f"{path}: label {number} is named twice")
        found[number] = str(name)
    found.setdefault(0, "background")
    if len(found) < 2:
        raise ValueError(f"{path}: names only the background; add the structures to be segmented under labels")
    if len(set(found.values())) < len(found):
        raise ValueError(f"{path}: two labels have the same name; give each its own")
    return dict(sorted(found.items()))


def _channels(path: Path, raw: Any) -> tuple[str, ...]:
    if not isinstance(raw, dict) or not raw:
        raise ValueError(f'{path}: has no "modality"; add e.g. {{"0": "FLAIR"}}')
    if not all(str(key).isdigit() for key in raw):
        raise ValueError(f"{path}: modality keys are {list(raw)}; number the channels from 0")
    return tuple(str(name) for _, name in sorted(raw.items(), key=lambda item: int(item[0])))


def _cases(path: Path, root: Path, raw: Any, key: str) -> tuple[CaseFiles, ...]:
    if raw is None:
        raw = []
    if not isinstance(raw, list):
        raise ValueError(f'{path}: "{key}" must be a list')
    cases = []
    for entry in raw:
        image, label = (entry.get("image"), entry.get("label")) if isinstance(entry, dict) else (entry, None)
        if not isinstance(image, str) or not (label is None or isinstance(label, str)):
            raise ValueError(f'{path}: "{key}" entry {entry!r} must name an image (and a label) by their paths')
        if key == "training" and label is None:
            raise ValueError(f"{path}: training image {image} has no label; add its label or move it to test")
        image_path = _inside(path, root, image)
        cases.append(CaseFiles(case_name(image_path), image_path, None if label is None else _inside(path, root, label)))
    seen: set[str] = set()
    for case in cases:
        if case.case in seen:
            raise ValueError(f"{path}: case {case.case} is listed twice under {key}; keep one")
        seen.add(case.case)
    return tuple(cases)


def _inside(path: Path, root: Path, name: str) -> Path:
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or not parts.parts or "\0" in name:
        raise ValueError(f"{path}: {name!r} leads out of the data set's folder; use paths relative to it")
    return root / parts
