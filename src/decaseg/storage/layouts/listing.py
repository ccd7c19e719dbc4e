"""What dataset.json files share, the Decathlon's and nnU-Net's: numbers with names, and paths inside the folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any


def label_names(path: Path, raw: Any) -> dict[int, str]:
    """{"0": "background"} or {"background": 0} as value -> name, with the background; ValueError naming `path`."""
    if not isinstance(raw, dict) or not raw:
        raise ValueError(f'{path}: has no "labels"; add e.g. {{"0": "background", "1": "edema"}}')
    found: dict[int, str] = {}
    for key, value in raw.items():
        value_of, name = (number(key), value) if number(key) is not None else (number(value), key)
        if value_of is None or not isinstance(name, str):
            raise ValueError(f'{path}: label {key!r}: {value!r} is not a number with a name; write "1": "edema"')
        if not 0 <= value_of <= 255:
            raise ValueError(f"{path}: label {value_of} is outside 0 to 255; number the labels from 0, the background")
        if value_of in found:
            raise ValueError(f"{path}: label {value_of} is named twice; keep one of the names")
        found[value_of] = name
    found.setdefault(0, "background")
    if len(found) < 2:
        raise ValueError(f"{path}: names only the background; add the structures to be segmented under labels")
    if len(set(found.values())) < len(found):
        raise ValueError(f"{path}: two labels have the same name; give each its own")
    return dict(sorted(found.items()))


def channel_names(path: Path, raw: Any, may_repeat: bool = False) -> tuple[str, ...]:
    """{"0": "FLAIR"} as names in order; repeated ones, where they may be, become `CT`, `CT 2` …"""
    if isinstance(raw, list):
        raw = {str(place): name for place, name in enumerate(raw)}
    if not isinstance(raw, dict) or not raw:
        raise ValueError(f'{path}: has no "modality"; add e.g. {{"0": "FLAIR"}}')
    found = {number(key): name for key, name in raw.items()}
    if None in found or len(found) < len(raw) or not all(isinstance(name, str) for name in raw.values()):
        raise ValueError(f'{path}: modality {raw} does not number the channels; write e.g. {{"0": "FLAIR", "1": "T2"}}')
    names = [name for _, name in sorted(found.items(), key=lambda item: item[0] or 0)]
    if len(set(names)) < len(names):
        if not may_repeat:
            raise ValueError(f"{path}: two channels have the same name under modality; give each its own")
        before = [names[:place].count(name) for place, name in enumerate(names)]
        names = [f"{name} {times + 1}" if times else name for name, times in zip(names, before, strict=True)]
    return tuple(names)


def number(value: Any) -> int | None:
    """The whole number that `value` is or spells in plain digits, or None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.isascii() and value.removeprefix("-").isdecimal() and len(value) < 10:
        return int(value)
    return value if isinstance(value, int) else None


def inside(path: Path, root: Path, name: str) -> Path:
    """A path that a listing `path` names, which must lie in `root`; Windows' separators are taken as ours."""
    if not name.isprintable():  # line breaks, NUL, halves of characters: no file of a data set has them
        raise ValueError(f"{path}: {name!r} is not a file name; write plain names")
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or not parts.parts:
        raise ValueError(f"{path}: {name!r} leads out of the data set's folder; use paths relative to it")
    return root / parts


def structure_names(values: Sequence[int], regions: Mapping[str, Sequence[int]]) -> dict[int, str]:
    """Names of single values of which only regions have names: the region of that value alone, else `label 1`."""
    alone = {next(iter(labels)): name for name, labels in regions.items() if len(labels) == 1}
    return {value: alone.get(value, f"label {value}") for value in values}
