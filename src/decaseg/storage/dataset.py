"""What a data set is, whatever its folder looks like: cases with their files, names of channels and labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from decaseg.showing import ShowsItself


@dataclass(frozen=True)
class CaseFiles(ShowsItself):
    """One case: its id, its image and, where there is one, its label map.

    `image` holds all channels, or the first one where `more` holds the others, a file each, in the data set's order.
    `group` names what must not be torn apart by a split (a patient), `split` where the data set itself says that the
    case belongs: `train`, `val` or `` for nowhere. `take`, where it is not empty, are the places of the channels that
    are wanted, in the order wanted. `values` maps label values of the file to those that are meant. Notebooks show it
    with the names of its data set's `structures` (label value -> name) and `channels`.
    """

    case: str
    image: Path
    label: Path | None
    more: tuple[Path, ...] = ()
    group: str = ""
    split: str = ""
    take: tuple[int, ...] = ()
    values: Mapping[int, int] = field(default_factory=dict)
    structures: Mapping[int, str] = field(default_factory=dict, compare=False, repr=False)
    channels: tuple[str, ...] = field(default=(), compare=False, repr=False)

    @property
    def images(self) -> tuple[Path, ...]:
        """The files of the image, in the order of the channels."""
        return (self.image, *self.more)

    @property
    def files(self) -> tuple[Path, ...]:
        """All files: those of the image, then the label map."""
        return self.images if self.label is None else (*self.images, self.label)


@dataclass(frozen=True)
class Region:
    """A structure that is a union of label values, and the value that is painted where it is found."""

    name: str
    labels: tuple[int, ...]
    paint: int


@dataclass(frozen=True)
class Dataset:
    """A data set as its layout tells it. `channels` and `labels` are ordered by number; labels hold the background, 0.

    `layout` says in words what the folder was taken for and `source` is the file or folder that told. `regions`, where
    the data set has some, are what it wants outlined instead of single labels, the outermost first. Voxels of the
    value `ignore` neither train nor score. `remarks` are what a person should know about how it was read.
    """

    root: Path
    name: str
    channels: tuple[str, ...]
    labels: Mapping[int, str]
    training: tuple[CaseFiles, ...]
    test: tuple[CaseFiles, ...]
    layout: str = "a Decathlon folder"
    source: Path | None = None
    regions: tuple[Region, ...] = ()
    ignore: int | None = None
    remarks: tuple[str, ...] = ()

    @property
    def structures(self) -> dict[int, str]:
        """The labels without the background."""
        return {value: name for value, name in self.labels.items() if value != 0}

    @property
    def known_values(self) -> frozenset[int]:
        """All values that a label map may hold: the labels, and the one to be ignored."""
        return frozenset(self.labels) | (frozenset() if self.ignore is None else frozenset({self.ignore}))

    @property
    def groups(self) -> dict[str, str]:
        """Case -> its group, for those cases that have one."""
        return {files.case: files.group for files in self.training if files.group}

    @property
    def described(self) -> str:
        """One sentence: what the folder was taken for, and what is in it."""
        names = [name for value, name in self.labels.items() if value]
        structures = [f"{region.name} (a region)" for region in self.regions] or names
        ignored = "" if self.ignore is None else f"; {self.ignore} is ignored"
        tests = f", {len(self.test)} without labels" if self.test else ""
        return (
            f"{self.root}: taken for {self.layout}: {len(self.training)} cases with labels{tests}; "
            f"channels {', '.join(self.channels)}; structures {', '.join(structures)}{ignored}"
        )

    def case(self, name: str) -> CaseFiles:
        """The files of one case, training before test; a ValueError when the data set has no such case."""
        for files in (*self.training, *self.test):
            if files.case == name:
                return files
        raise ValueError(f"{self.source or self.root}: has no case {name!r}; decaseg check says which it has")
