"""BIDS: images in sub-01/[ses-1/]anat/, label maps in derivatives/ or, in a derivative data set, beside the images.

Source: the Brain Imaging Data Structure, 1.10: entities in file names, `_dseg` (label map) and `_mask`, dseg.tsv.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from decaseg.storage.channel_names import contrast, in_usual_order
from decaseg.storage.dataset import CaseFiles, Dataset
from decaseg.storage.label_names import NAMES_FILE, occurring, read_names
from decaseg.storage.layouts.layout import Layout
from decaseg.storage.nifti import case_name, is_nifti

NAME = re.compile(r"sub-[A-Za-z0-9+]+(_[A-Za-z0-9]+-[A-Za-z0-9+.]+)*_[A-Za-z0-9]+")
IMAGES = ("FLAIR", "T1w", "T2w", "PDw", "T2starw", "inplaneT1", "inplaneT2", "PDT2", "angio", "T1map", "T2map", "UNIT1",
          "dwi", "adc", "ADC", "swi", "ct", "CT", "pet", "ceT1w", "MRI")  # fmt: skip
LABELS = ("dseg", "mask")
PLACE = ("sub", "ses")  # what makes a case
OF_THE_HEAD = ("brain", "head", "skull", "nonbrain")  # masks that nobody trains on
WHERE = ("space", "res", "den", "desc", "label", "seg", "atlas")  # entities that do not tell contrasts apart


@dataclass(frozen=True)
class Named:
    """A file with the parts of its name."""

    path: Path
    entities: Mapping[str, str]
    suffix: str

    @property
    def case(self) -> str:
        return "_".join(f"{key}-{self.entities[key]}" for key in PLACE if key in self.entities)

    @property
    def channel(self) -> str:
        """Its contrast, with the entities that tell it from another one: `T1w`, `ce-gadolinium_T1w`, `run-2_FLAIR`."""
        told = [f"{key}-{value}" for key, value in self.entities.items() if key not in (*PLACE, *WHERE)]
        name = "_".join([*told, self.suffix])
        with_agent = self.suffix == "T1w" and [part for part in told if not part.startswith("ce-")] == [] and told
        return "t1gd" if with_agent else contrast(name) or name


def parsed(path: Path) -> Named | None:
    """The parts of a BIDS name; None for other names."""
    stem = case_name(path)
    if not NAME.fullmatch(stem):
        return None
    *pairs, suffix = stem.split("_")
    return Named(path, dict(pair.split("-", 1) for pair in pairs), suffix)


def fits(root: Path) -> bool:
    """Are there sub-…/ folders, here or in derivatives/…?"""
    return root.is_dir() and not (root / "dataset.json").exists() and any(True for _ in _subjects(root))


def files_in(root: Path) -> list[Path]:
    """The NIfTI files of all subjects, or of the one that the folder is."""
    subjects = list(_subjects(root)) or ([root] if root.name.startswith("sub-") else [])
    return [path for subject in subjects for path in _files(subject) if parsed(path) is not None]


def read(root: Path) -> Dataset:
    """Cases are subjects, or sessions of them. Channels are the contrasts that every case with a label map has.

    ValueError where two label maps, or two images of a contrast, could be meant: a CSV of paths says which.
    """
    named = [one for path in files_in(root) if (one := parsed(path)) is not None]
    labels = _label_maps(root, [one for one in named if one.suffix in LABELS])
    if not labels:
        raise ValueError(f"{root}: has no label map: looked for sub-…_dseg.nii.gz and sub-…_mask.nii.gz in it")
    images: dict[str, list[Named]] = defaultdict(list)
    for one in named:
        if one.suffix in IMAGES:
            images[one.case].append(one)
    found = {case: _beside(label, images[case]) for case, label in labels.items()}
    channels, remarks = _channels(root, found)
    found |= {case: _by_channel(images[case]) for case in images if case not in labels}
    cases = [
        _case(case, found[case], channels, labels.get(case))
        for case in sorted(found)
        if case in labels or set(channels) <= set(found[case])
    ]
    training = tuple(one for one in cases if one.label is not None)
    test = tuple(one for one in cases if one.label is None)
    names = _names(root, [label.path for label in labels.values()])
    return Dataset(root, root.resolve().name, channels, names, training, test, source=root, remarks=remarks)


def _channels(root: Path, found: Mapping[str, Mapping[str, object]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The contrasts that all cases have, and a remark on those that only some have."""
    everywhere = set.intersection(*(set(channels) for channels in found.values()))
    if not everywhere:
        lacking = next((case for case in sorted(found) if not found[case]), min(found))
        has = ", ".join(found[lacking]) or "no image"
        raise ValueError(f"{root}: no contrast is there for all cases ({lacking} has {has}); add the images")
    left = sorted(set[str]().union(*found.values()) - everywhere)
    remarks = (f"not every case has {', '.join(left)}: not used",) if left else ()
    return tuple(in_usual_order(list(everywhere))), remarks


def _case(case: str, found: Mapping[str, list[Named]], channels: Sequence[str], label: Named | None) -> CaseFiles:
    first, *more = (_one(found[channel], case, channel) for channel in channels)
    subject = found[channels[0]][0].entities["sub"]
    return CaseFiles(case, first, None if label is None else label.path, tuple(more), group=f"sub-{subject}")


def _label_maps(root: Path, found: Sequence[Named]) -> dict[str, Named]:
    """Case -> its label map: the only dseg, else the only mask that is not of the head."""
    by_case: dict[str, list[Named]] = defaultdict(list)
    for one in found:
        if not {one.entities.get("desc"), one.entities.get("label")} & set(OF_THE_HEAD):
            by_case[one.case].append(one)
    chosen = {}
    for case, several in by_case.items():
        maps = [one for one in several if one.suffix == "dseg"] or several
        if len(maps) > 1:
            raise ValueError(
                f"{maps[0].path}: and {maps[1].path} could both be the label map of {case}; move one away, or list the "
                "pairs in a CSV of paths"
            )
        chosen[case] = maps[0]
    return chosen


def _beside(label: Named, images: Sequence[Named]) -> dict[str, list[Named]]:
    """The images that a label map belongs to: those in its own folder and space, else all of its case."""
    own = [one for one in images if one.path.parent == label.path.parent]
    found = _by_channel(own)
    for channel, others in _by_channel([one for one in images if one not in own]).items():
        found.setdefault(channel, others)
    return found


def _by_channel(images: Sequence[Named]) -> dict[str, list[Named]]:
    found: dict[str, list[Named]] = defaultdict(list)
    for one in images:
        found[one.channel].append(one)
    return dict(found)


def _one(several: Sequence[Named], case: str, channel: str) -> Path:
    if len(several) > 1:
        raise ValueError(
            f"{several[0].path}: and {several[1].path} could both be {channel} of {case}; list them in a CSV of paths"
        )
    return several[0].path


def _names(root: Path, paths: Sequence[Path]) -> dict[int, str]:
    """From a dseg.tsv at the root, in a derivative or beside a label map; else the mask's own label; else values."""
    folders = [root, *sorted((root / "derivatives").glob("*")), *dict.fromkeys(path.parent for path in paths)]
    for folder in folders:
        for table in sorted(folder.glob(f"*{NAMES_FILE}")):
            return read_names(table)
    stems = [parsed(path) for path in paths]
    told = {one.entities.get("label") or one.entities.get("desc") for one in stems if one and one.suffix == "mask"}
    if len(told) == 1 and (name := next(iter(told))) and all(one and one.suffix == "mask" for one in stems):
        return {0: "background", 1: name}
    return occurring(paths)


def _subjects(root: Path) -> Iterator[Path]:
    """Folders of subjects: of the data set itself, then of its derivatives."""
    for folder in (root, root / "derivatives", *sorted((root / "derivatives").glob("*"))):
        if folder.is_dir():
            yield from sorted(path for path in folder.glob("sub-*") if path.is_dir())


def _files(subject: Path) -> list[Path]:
    """The NIfTI files of a subject; by patterns, since `rglob` would not follow links to folders."""
    patterns = "sub-*", "*/sub-*", "*/*/sub-*"  # sub-01/[ses-1/]anat/sub-01_…
    return sorted(path for pattern in patterns for path in subject.glob(pattern) if is_nifti(path))


LAYOUT = Layout("a BIDS folder", "sub-…/ folders", fits, read)
