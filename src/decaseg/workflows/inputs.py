"""What `decaseg predict` is given: NIfTI files, folders of them in any layout, or folders of DICOM series."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from decaseg.data.preprocess import Preprocessing
from decaseg.storage import nifti
from decaseg.storage.channel_names import contrast_in, same
from decaseg.storage.dataset import CaseFiles
from decaseg.storage.dicom.files import dicom_files, is_dicom
from decaseg.storage.finished import content_hash
from decaseg.storage.images import read_image, read_image_facts, same_grid
from decaseg.storage.layouts import bids, brats
from decaseg.storage.layouts.grouping import Wanted, group
from decaseg.volume import Grid, Volume
from decaseg.workflows.matching import wanted_channels


class Input(Protocol):
    """An image that is to be predicted: `name` is its case, `path` what messages name."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> Path: ...
    @property
    def files(self) -> tuple[Path, ...]: ...
    def read(self) -> Volume: ...
    def facts(self) -> tuple[Grid, int, int]: ...


@dataclass(frozen=True)
class NiftiInput:
    """An image in one file, or in a file a channel."""

    case: CaseFiles

    @property
    def name(self) -> str:
        return self.case.case

    @property
    def path(self) -> Path:
        return self.case.image

    @property
    def files(self) -> tuple[Path, ...]:
        return self.case.images

    def read(self) -> Volume:
        return read_image(self.case)

    def facts(self) -> tuple[Grid, int, int]:
        return read_image_facts(self.case)


@dataclass(frozen=True)
class DicomInput:
    """A DICOM series a channel, on one grid; the first one is what a DICOM-SEG refers to."""

    name: str
    path: Path
    series: tuple[Any, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(path for one in self.series for path in one.paths)

    def read(self) -> Volume:
        import numpy as np

        from decaseg.storage.dicom.pixels import read_series

        volumes = [read_series(one) for one in self.series]
        for one, volume in zip(self.series[1:], volumes[1:], strict=True):
            same_grid(volumes[0].grid, volume.grid, f"series {self.series[0]}", f"{self.path}: series {one}")
        return volumes[0].with_array(np.concatenate([volume.array for volume in volumes]))

    def facts(self) -> tuple[Grid, int, int]:
        from decaseg.storage.dicom.series import stack

        return stack(self.series[0]).grid, len(self.series), 4

    def write_segmentation(self, path: Path, labels: Volume, names: Mapping[int, str]) -> None:
        """The label map as DICOM-SEG."""
        from decaseg.storage.dicom.segmentation import write_segmentation

        write_segmentation(path, labels, self.series[0], names)


def find_inputs(inputs: Sequence[Path], how: Preprocessing, series: Sequence[str] = ()) -> list[Input]:
    """The images that the words name, in order; what was matched is said. ValueError where there are none.

    `series` are the UIDs of DICOM series to use where several lie in a folder.
    """
    wanted = _wanted(how)
    files, found = list[Path](), list[Input]()
    for path in inputs:
        if not path.exists():
            raise ValueError(f"{path}: there is no such file or folder; check the name")
        if path.is_file() and not nifti.is_nifti(path) and is_dicom(path):
            raise ValueError(f"{path}: is one DICOM file; name the folder with its series")
        if path.is_file() or not path.is_dir():
            files.append(path)
            continue
        inside = _images_in(path)
        files += inside
        if not inside:
            found += _dicom_inputs(path, wanted, series)
    grouped = group(files, wanted)
    for line in grouped.said:
        print(line, file=sys.stderr)
    found += [NiftiInput(case) for case in grouped.cases]
    by_name: dict[str, Input] = {}
    for one in found:
        if one.name in by_name and by_name[one.name].path != one.path:
            raise ValueError(
                f"{one.path}: has the same case name as {by_name[one.name].path}; predict them into different folders"
            )
        by_name[one.name] = one
    if not by_name:
        raise ValueError(f"{inputs[0]}: holds label maps alone; name the folder with the images")
    return list(by_name.values())


def _wanted(how: Preprocessing) -> Wanted:
    names = wanted_channels(how)
    every = len(how.channels) == how.file_channels
    return Wanted(names, tuple(range(len(names))) if every else how.channel_indices, how.file_channels)


def _images_in(folder: Path) -> list[Path]:
    """The NIfTI files in a folder; where it has none, those of BraTS cases or BIDS subjects in folders below it."""
    inside = sorted(path for path in folder.iterdir() if nifti.is_nifti(path))
    if not inside:
        inside = [path for below in brats.case_folders(folder) for files in brats.files_of(below).values()
                  for path in files.values()]  # fmt: skip
    if not inside:
        inside = bids.files_in(folder)
    return inside


def _dicom_inputs(folder: Path, wanted: Wanted, uids: Sequence[str]) -> list[Input]:
    """A case a study; ValueError where the folder has no DICOM, or where it is not plain which series are meant."""
    paths = list(dicom_files(folder))
    if not paths:
        raise ValueError(
            f"{folder}: holds no .nii or .nii.gz files and no DICOM series; name the folder with the images"
        )
    from decaseg.storage.dicom.series import Series, find_series

    found = find_series(paths)
    if not found:
        raise ValueError(f"{folder}: its {len(paths)} DICOM files hold no images; name the folder with the images")
    studies: dict[str, list[Series]] = {}
    for one in found:
        studies.setdefault(one.study, []).append(one)
    if missing := [uid for uid in uids if uid not in {one.uid for one in found}]:
        raise ValueError(f"--series {missing[0]}: {folder} has no such series; it has {_listed(found)}")
    made: list[Input] = []
    for several in studies.values():
        name = folder.resolve().name if len(studies) == 1 else _below(folder, several)
        if uids and not any(one.uid in uids for one in several):
            continue
        chosen = _chosen(folder, several, wanted, uids)
        pairs = ", ".join(
            f"{channel} = {one.description or one.uid}" for channel, one in zip(wanted.names, chosen, strict=True)
        )
        print(f"{name}: {pairs}", file=sys.stderr)
        made.append(DicomInput(name, folder, tuple(chosen)))
    return made


def _chosen(folder: Path, found: Sequence[Any], wanted: Wanted, uids: Sequence[str]) -> list[Any]:
    """The series of each wanted channel."""
    if uids:
        found = [one for uid in uids for one in found if one.uid == uid]
    if len(found) == len(wanted.names) == 1:
        return list(found)
    volumes = [one for one in found if not one.localizer] or list(found)
    chosen = []
    for name in wanted.names:
        fits = [one for one in volumes if _shows(one, name)]
        if len(fits) != 1:
            break
        chosen.append(fits[0])
    if len(chosen) == len(wanted.names) == len({one.uid for one in chosen}):
        return chosen
    if len(volumes) == len(wanted.names) == 1:
        return volumes
    if uids and len(found) == len(wanted.names):
        return list(found)  # in the order given
    needs = f"{len(wanted.names)} series ({', '.join(wanted.names)})" if len(wanted.names) > 1 else "one series"
    raise ValueError(
        f"{folder}: the model needs {needs}, and which is not plain from {_listed(found)}; choose with --series UID"
        + (", once a channel in that order" if len(wanted.names) > 1 else "")
    )


def _shows(series: Any, channel: str) -> bool:
    """Does the series show what the channel is called?"""
    if channel.upper() in ("CT", "MR", "PT"):
        return bool(series.modality == channel.upper())
    shown = contrast_in(series.text)
    return shown is not None and same(shown, channel)


def _below(folder: Path, several: Sequence[Any]) -> str:
    """The folder in `folder` that holds one study alone."""
    tops = {path.relative_to(folder).parts[0] for one in several for path in one.paths}
    if len(tops) != 1 or next(iter(tops)) in {path.name for path in several[0].paths}:
        raise ValueError(f"{folder}: holds several studies side by side; give each a folder of its own")
    return tops.pop()


def _listed(found: Sequence[Any]) -> str:
    return "; ".join(str(one) for one in found)


def content_of(one: Input) -> str:
    """What the image's files hold, as a hash."""
    return content_hash(*one.files) if all(path.is_file() for path in one.files) else ""
