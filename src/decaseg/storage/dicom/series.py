"""Finds the series in a folder, and puts their slices in order along their normal.

Nothing that names a patient is read here: a series is told by its description, its modality and its UID.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from decaseg.storage.dicom.quiet import quietly
from decaseg.volume import Grid

TAGS = [
    "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesDescription", "ProtocolName", "SequenceName",
    "Modality", "Rows", "Columns", "ImageType", "NumberOfFrames", "ContrastBolusAgent",
]  # fmt: skip
NO_IMAGES = {"SEG", "RTSTRUCT", "RTDOSE", "RTPLAN", "SR", "PR", "KO", "REG", "DOC"}
TOLERANCE_VOXELS = 0.1  # how far a slice may lie from where even spacing along the normal puts it
SAME_PLACE_MM = 1e-3


class DicomError(ValueError):
    """A file or a series that cannot be used: which, why, and the way out, in one line."""


@dataclass(frozen=True)
class Series:
    """The image files of one series, in no order yet. `text` is all that tells what it shows."""

    uid: str
    study: str
    description: str
    modality: str
    text: str
    localizer: bool
    paths: tuple[Path, ...]

    def __str__(self) -> str:
        count = "1 file" if len(self.paths) == 1 else f"{len(self.paths)} files"
        return f"{self.uid} ({self.description or 'no description'}; {self.modality}, {count})"


@dataclass(frozen=True)
class Slice:
    """One slice: its file, its frame there (None: the file holds one), its place, and how its values are scaled."""

    path: Path
    frame: int | None
    position_mm: NDArray[np.float64]
    orientation: NDArray[np.float64]
    spacing_mm: tuple[float, float]
    slope: float
    intercept: float
    thickness_mm: float


@dataclass(frozen=True)
class Stack:
    """The slices of a series in order along their normal, and the grid they make: x along rows, y down columns."""

    slices: tuple[Slice, ...]
    grid: Grid


def find_series(paths: Iterable[Path]) -> list[Series]:
    """The image series among DICOM files, in order of description. ValueError for a damaged file."""
    found: dict[str, list[tuple[Path, Dataset]]] = defaultdict(list)
    for path in paths:
        header = opened(path, specific_tags=list(TAGS), stop_before_pixels=True)
        with named(path):
            if header.get("Rows") and str(header.get("Modality", "")) not in NO_IMAGES:
                found[str(header.get("SeriesInstanceUID", ""))].append((path, header))
    made = []
    for uid, files in found.items():
        with named(files[0][0]):
            made.append(_series(uid, files))
    return sorted(made, key=lambda one: (one.description, one.uid))


def _series(uid: str, files: Sequence[tuple[Path, Dataset]]) -> Series:
    first = files[0][1]
    words = [str(first.get(tag, "") or "").strip() for tag in ("SeriesDescription", "ProtocolName", "SequenceName")]
    agent = "contrast" if str(first.get("ContrastBolusAgent", "") or "").strip() else ""
    return Series(
        uid=uid,
        study=str(first.get("StudyInstanceUID", "")),
        description=_plain(words[0] or words[1]),
        modality=str(first.get("Modality", "") or "?"),
        text=" ".join([words[0] or " ".join(words[1:]), agent]).strip(),
        localizer="LOCALIZER" in [str(word).upper() for word in first.get("ImageType", None) or ()],
        paths=tuple(path for path, _ in files),
    )


def _plain(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:64]


def opened(path: Path, **how: Any) -> Dataset:
    """A file's data set; ValueError for one that is damaged."""
    with named(path):
        return pydicom.dcmread(path, force=True, **how)


@contextmanager
def named(path: Path, what: str = "is a damaged DICOM file") -> Iterator[None]:
    """pydicom lets all kinds of errors out of damaged files, on reading and when a value is asked for: a line each."""
    try:
        with quietly():
            yield
    except (OSError, DicomError):
        raise
    except Exception as error:
        kind = type(error).__name__  # not its words, which quote the file
        raise DicomError(f"{path}: {what} ({kind}); copy it again") from None


def stack(series: Series) -> Stack:
    """The slices in order of place, never of number. ValueError with the reason where they make no even grid."""
    slices, sizes = list[Slice](), set[tuple[int, int]]()
    for path in series.paths:
        header = opened(path, stop_before_pixels=True)
        with named(path):
            if int(header.get("SamplesPerPixel", 1)) != 1:
                raise DicomError(f"{path}: is a colour image; name the series of grey images")
            sizes.add((int(header.Columns), int(header.Rows)))
            slices += _slices(path, header)
    if len(sizes) > 1:
        raise DicomError(f"{series.paths[0].parent}: series {series} has slices of {len(sizes)} sizes; choose another")
    where = f"{series.paths[0].parent}: series {series}"
    columns, rows = sizes.pop()
    first = slices[0]
    for one in slices:
        if np.abs(one.orientation - first.orientation).max() > 1e-3 or not np.allclose(
            one.spacing_mm, first.spacing_mm, 1e-3
        ):
            raise DicomError(f"{where} has slices of different directions or pixel sizes; choose another or split it")
    across, down = first.orientation
    if abs(across @ down) > 1e-3 or abs(across @ across - 1) > 1e-2 or abs(down @ down - 1) > 1e-2:
        raise DicomError(f"{where} has an orientation that is no rotation; export it again")
    normal = np.cross(across, down)
    slices.sort(key=lambda one: float(one.position_mm @ normal))
    step = _step(where, slices, normal)
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1] = across * first.spacing_mm[1], down * first.spacing_mm[0]
    lps[:3, 2], lps[:3, 3] = step, slices[0].position_mm
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps  # DICOM's axes run left, posterior, superior; ours right and anterior
    return Stack(tuple(slices), Grid((columns, rows, len(slices)), ras))


def _step(where: str, slices: Sequence[Slice], normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """From one slice to the next; ValueError for tilted, uneven, missing or doubled slices."""
    if len(slices) == 1:
        thickness_mm = slices[0].thickness_mm
        if thickness_mm <= 0:
            raise DicomError(f"{where} has one slice and says no thickness; choose a series of a volume")
        return normal * thickness_mm
    positions = np.stack([one.position_mm for one in slices])
    gaps = np.diff(positions @ normal)
    if gaps.min() < SAME_PLACE_MM:
        doubled = int((gaps < SAME_PLACE_MM).sum())
        raise DicomError(
            f"{where} has {doubled} slices where another one lies (several times or acquisitions in one series); "
            "give a folder with one of them"
        )
    step = (positions[-1] - positions[0]) / (len(slices) - 1)
    sideways = step - (step @ normal) * normal
    drift_mm = float(np.linalg.norm(sideways)) * (len(slices) - 1)
    if drift_mm > TOLERANCE_VOXELS * min(slices[0].spacing_mm):
        angle = float(np.degrees(np.arctan2(np.linalg.norm(sideways), step @ normal)))
        raise DicomError(
            f"{where} is tilted: its slices lie askew by {angle:.2g} degrees (gantry tilt), so they make no box; "
            "correct the tilt first"
        )
    even = positions[0] + np.arange(len(slices))[:, None] * step
    off_mm = float(np.linalg.norm(positions - even, axis=1).max())
    if off_mm > TOLERANCE_VOXELS * float(np.median(gaps)):
        missing = int(np.rint(gaps / np.median(gaps)).sum()) - len(gaps)
        why = f"{missing} seem to be missing" if missing > 0 else "the spacing is uneven"
        raise DicomError(
            f"{where} has slices {gaps.min():.4g} to {gaps.max():.4g} mm apart: {why}; complete it or resample it"
        )
    return np.asarray(normal * (step @ normal))


def _slices(path: Path, header: Dataset) -> list[Slice]:
    """The slices of a file: one, or the frames of an enhanced multi-frame image."""
    shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    each = header.get("PerFrameFunctionalGroupsSequence")
    if each is None:
        if int(header.get("NumberOfFrames", 1) or 1) > 1:
            raise DicomError(f"{path}: holds several frames without their places; export it as enhanced or single")
        return [_slice(path, None, lambda sequence, tag: header.get(tag))]

    def finder(frame: Dataset) -> Callable[[str, str], Any]:
        def find(sequence: str, tag: str) -> Any:
            for group in (frame, shared):
                if found := group.get(sequence):
                    return found[0].get(tag)
            return header.get(tag)

        return find

    return [_slice(path, number, finder(frame)) for number, frame in enumerate(each)]


def _slice(path: Path, frame: int | None, find: Callable[[str, str], Any]) -> Slice:
    position, orientation = (
        find("PlanePositionSequence", "ImagePositionPatient"),
        find("PlaneOrientationSequence", "ImageOrientationPatient"),
    )
    spacing = find("PixelMeasuresSequence", "PixelSpacing")
    if position is None or orientation is None or spacing is None or len(position) != 3 or len(orientation) != 6:
        raise DicomError(f"{path}: does not say where in the patient it lies; name a series of cross-sections")
    slope, intercept = (find("PixelValueTransformationSequence", f"Rescale{what}") for what in ("Slope", "Intercept"))
    thickness = find("PixelMeasuresSequence", "SpacingBetweenSlices") or find("PixelMeasuresSequence", "SliceThickness")
    numbers = [float(v) for v in (*position, *orientation, *spacing)]
    if not np.isfinite(numbers).all() or min(numbers[9:]) <= 0:
        raise DicomError(f"{path}: has a place or pixel size that is no number; export it again")
    return Slice(
        path,
        frame,
        np.array(numbers[:3]),
        np.array(numbers[3:9]).reshape(2, 3),
        (numbers[9], numbers[10]),
        1.0 if slope is None else float(slope),
        0.0 if intercept is None else float(intercept),
        abs(float(thickness or 0)),
    )
