"""Reads `dataset.json` as the Medical Segmentation Decathlon writes it, and as people really have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from decaseg.showing import ShowsItself
from decaseg.storage.files import read_json
from decaseg.storage.nifti import case_name


@dataclass(frozen=True)
class CaseFiles(ShowsItself):
    """One case: its id (the image's file name without .nii.gz), its image and, where there is one, its label.

    Notebooks show it with the names of its data set's `structures` (label value -> name) and `channels`.
    """

    case: str
    image: Path
    label: Path | None
    structures: Mapping[int, str] = field(default_factory=dict, compare=False, repr=False)
    channels: tuple[str, ...] = field(default=(), compare=False, repr=False)


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
        """The files of one case, training before test; a ValueError when dataset.json has no such case."""
        for files in (*self.training, *self.test):
            if files.case == name:
                return files
        raise ValueError(f"{self.root / 'dataset.json'}: has no case {name!r}; see its lists of images")


def read_dataset(root: Path | str) -> Dataset:
    """Reads `root/dataset.json`; a ValueError names the file, the fault and the way out.

    Accepts MSD's own quirks: `relase`, `./` prefixes, Windows separators, missing counts, extra keys, labels as
    {"0": "background"} or {"background": 0}, channels under `modality` or `channel_names`.
    """
    root = Path(root)
    path = root / "dataset.json"
    if not root.is_dir():
        raise ValueError(f"{root}: there is no such folder; DATASET is a folder with dataset.json in it")
    if not path.is_file():
        raise ValueError(f"{root}: has no dataset.json; DATASET is a folder like Task04_Hippocampus, with one in it")
    document = read_json(path)
    if not isinstance(document, dict):
        raise ValueError(f'{path}: must hold a JSON object; start it with {{ and add "labels" and "training"')
    labels = _labels(path, document.get("labels"))
    training = _cases(path, root, document.get("training"), "training")
    if not training:
        raise ValueError(f'{path}: lists no training cases; add pairs of image and label under "training"')
    channels = _channels(path, document.get("modality", document.get("channel_names")))
    test = _cases(path, root, document.get("test", []), "test")
    structures = {value: name for value, name in labels.items() if value != 0}
    training, test = (
        tuple(replace(files, structures=structures, channels=channels) for files in part) for part in (training, test)
    )
    return Dataset(root, str(document.get("name", root.name)), channels, labels, training, test)


def _labels(path: Path, raw: Any) -> dict[int, str]:
    if not isinstance(raw, dict) or not raw:
        raise ValueError(f'{path}: has no "labels"; add e.g. {{"0": "background", "1": "edema"}}')
    found: dict[int, str] = {}
    for key, value in raw.items():
        number, name = (_number(key), value) if _number(key) is not None else (_number(value), key)
        if number is None or not isinstance(name, str):
            raise ValueError(f'{path}: label {key!r}: {value!r} is not a number with a name; write "1": "edema"')
        if not 0 <= number <= 255:
            raise ValueError(f"{path}: label {number} is outside 0 to 255; number the labels from 0, the background")
        if number in found:
            raise ValueError(f"{path}: label {number} is named twice; keep one of the names")
        found[number] = name
    found.setdefault(0, "background")
    if len(found) < 2:
        raise ValueError(f"{path}: names only the background; add the structures to be segmented under labels")
    if len(set(found.values())) < len(found):
        raise ValueError(f"{path}: two labels have the same name; give each its own")
    return dict(sorted(found.items()))


def _channels(path: Path, raw: Any) -> tuple[str, ...]:
    if isinstance(raw, list):
        raw = {str(number): name for number, name in enumerate(raw)}
    if not isinstance(raw, dict) or not raw:
        raise ValueError(f'{path}: has no "modality"; add e.g. {{"0": "FLAIR"}}')
    found = {_number(key): name for key, name in raw.items()}
    if None in found or len(found) < len(raw) or not all(isinstance(name, str) for name in raw.values()):
        raise ValueError(f'{path}: modality {raw} does not number the channels; write e.g. {{"0": "FLAIR", "1": "T2"}}')
    if len(set(found.values())) < len(found):
        raise ValueError(f"{path}: two channels have the same name under modality; give each its own")
    return tuple(name for _, name in sorted(found.items(), key=lambda item: item[0] or 0))


def _number(value: Any) -> int | None:
    """The whole number that `value` is or spells in plain digits, or None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.isascii() and value.removeprefix("-").isdecimal() and len(value) < 10:
        return int(value)
    return value if isinstance(value, int) else None


def _cases(path: Path, root: Path, raw: Any, key: str) -> tuple[CaseFiles, ...]:
    if raw is None:
        raw = []
    if not isinstance(raw, list):
        raise ValueError(f'{path}: "{key}" is not a list; write [{{"image": "./imagesTr/a.nii.gz", "label": …}}]')
    cases: dict[str, CaseFiles] = {}
    for entry in raw:
        image, label = (entry.get("image"), entry.get("label")) if isinstance(entry, dict) else (entry, None)
        if not isinstance(image, str) or not (label is None or isinstance(label, str)):
            raise ValueError(f'{path}: "{key}" has the entry {entry!r}; each must name an image (and a label) by path')
        if key == "training" and label is None:
            raise ValueError(f'{path}: training image {image} has no label; add its label or move it to "test"')
        files = CaseFiles("", _inside(path, root, image), None if label is None else _inside(path, root, label))
        files = replace(files, case=case_name(files.image))
        if files.image == files.label:
            raise ValueError(f"{path}: case {files.case} has one file as image and label; name the label's own file")
        if files.case in cases:
            raise ValueError(f'{path}: case {files.case} is listed twice under "{key}"; keep one')
        cases[files.case] = files
    return tuple(cases.values())


def _inside(path: Path, root: Path, name: str) -> Path:
    if not name.isprintable():  # line breaks, NUL, halves of characters: no file of a data set has them
        raise ValueError(f"{path}: {name!r} is not a file name; write plain names")
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or not parts.parts:
        raise ValueError(f"{path}: {name!r} leads out of the data set's folder; use paths relative to it")
    return root / parts
