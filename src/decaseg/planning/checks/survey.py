"""What is known of a data set when the rules look at it: the headers always, the voxels where they have been read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from decaseg.planning.checks.measure import ImageVoxels, LabelVoxels
from decaseg.storage import nifti
from decaseg.storage.decathlon import CaseFiles, Dataset
from decaseg.volume import Grid


@dataclass(frozen=True)
class Fault:
    """Why a file, or a part of it, cannot be read."""

    file: Path
    fault: str
    fix: str

    @classmethod
    def of(cls, error: nifti.NiftiError) -> Fault:
        """A listed file that is not there is the list's fault as much as the file's."""
        if not os.path.lexists(error.file):
            return cls(error.file, "is listed in dataset.json but is not there", "copy it there or take its case out")
        return cls(error.file, error.fault, error.fix)


@dataclass(frozen=True)
class Header:
    """A file's header: its grid and channels, or, where `fault` is set, neither."""

    file: Path
    grid: Grid | None = None
    channels: int = 0
    fault: Fault | None = None

    @classmethod
    def read(cls, file: Path) -> Header:
        """From the file's first bytes; a truncated file may still have them."""
        try:
            grid, channels = nifti.read_grid(file)
        except nifti.NiftiError as error:
            return cls(file, fault=Fault.of(error))
        return cls(file, grid, channels)


@dataclass(frozen=True)
class Case:
    """One case: headers of image and label, and what their voxels say (None: unread, or unreadable by `fault`)."""

    files: CaseFiles
    image: Header
    label: Header | None
    is_test: bool = False
    image_voxels: ImageVoxels | None = None
    label_voxels: LabelVoxels | None = None
    faults: tuple[Fault, ...] = ()

    @property
    def name(self) -> str:
        return self.files.case

    @property
    def headers(self) -> Iterator[Header]:
        """Image first; those that could be read."""
        for header in (self.image, self.label):
            if header is not None and header.grid is not None:
                yield header


@dataclass(frozen=True)
class Survey:
    """All cases of a data set; `deep` where the voxels have been read, or the attempt was made."""

    dataset: Dataset
    training: tuple[Case, ...]
    test: tuple[Case, ...] = ()
    deep: bool = False

    @property
    def description(self) -> Path:
        return self.dataset.root / "dataset.json"
