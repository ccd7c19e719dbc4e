"""What is known of a data set when the rules look at it: the headers always, the voxels where they have been read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from decaseg.planning.checks.measure import ImageVoxels, LabelVoxels
from decaseg.storage import nifti
from decaseg.storage.dataset import CaseFiles, Dataset
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
            return cls(error.file, "is listed but is not there", "copy it there or take its case out of the list")
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


def image_files(files: CaseFiles) -> tuple[Path, ...]:
    """The files of a case's image: one with all channels, or one a channel."""
    return files.images


@dataclass(frozen=True)
class Case:
    """One case: headers of image and label, and what their voxels say (None: unread, or unreadable by `faults`).

    `images`: one header where one file holds all channels, else one a channel, in their order.
    """

    files: CaseFiles
    images: tuple[Header, ...]
    label: Header | None
    is_test: bool = False
    image_voxels: ImageVoxels | None = None
    label_voxels: LabelVoxels | None = None
    faults: tuple[Fault, ...] = ()

    @property
    def name(self) -> str:
        return self.files.case

    @property
    def image(self) -> Header:
        """The image's only header, or its first channel's."""
        return self.images[0]

    @property
    def headers(self) -> tuple[Header, ...]:
        """Images first, then the label."""
        return self.images if self.label is None else (*self.images, self.label)


@dataclass(frozen=True)
class Survey:
    """All cases of a data set; `deep` where the voxels have been read, or the attempt was made."""

    dataset: Dataset
    training: tuple[Case, ...]
    test: tuple[Case, ...] = ()
    deep: bool = False

    @property
    def description(self) -> Path:
        """The file, or the folder, that says what the data set is."""
        return self.dataset.source or self.dataset.root / "dataset.json"

    @property
    def lists_files(self) -> bool:
        """Whether cases are those that dataset.json lists, as in the Decathlon's layout, not those that are found."""
        return self.dataset.layout == Dataset.layout

    @property
    def says(self) -> str:
        """Its name in sentences."""
        return self.description.name if self.description.is_file() else "the data set"
