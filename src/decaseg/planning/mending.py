"""What can be mended of a case without guessing, and why the rest cannot: decided from what was measured of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decaseg.planning.checks.affines import MAX_SHEAR, SLIGHT_SHEAR
from decaseg.planning.checks.forms import disagree, two_sizes
from decaseg.planning.checks.grids import Reordering, reordering, tolerance_mm
from decaseg.planning.checks.labels import ROUNDED
from decaseg.planning.checks.problem import count
from decaseg.planning.checks.survey import Case, Header, Survey
from decaseg.planning.checks.units import NAMES as OTHER_UNITS
from decaseg.volume import Grid

TINY_VOXELS = 0.5  # a label's header that is further off than half a voxel says another place, and may mean it


@dataclass(frozen=True)
class Repair:
    """What to do to one file: words for people; where something is set, the file is written anew.

    `grid`: the one to write (None: its own); `order`: how voxels are to be reordered; `zero`: put 0 for what is not
    finite; `whole`: round, and store as whole numbers.
    """

    file: Path
    words: tuple[str, ...] = ()
    grid: Grid | None = None
    order: Reordering | None = None
    zero: bool = False
    whole: bool = False

    @property
    def copies(self) -> bool:
        """Is the file right as it is?"""
        return not self.words


@dataclass(frozen=True)
class LeftOut:
    """A case that the mended copy does not have. `refused`: a person may still mend it, so something is lacking."""

    case: str
    reason: str
    refused: bool = True


@dataclass(frozen=True)
class Repairs:
    """What becomes of the training cases: for each kept one its files' repairs; those left out, with the reason."""

    kept: dict[str, tuple[Repair, ...]] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()


def repairs(survey: Survey) -> Repairs:
    """Decides for all training cases of a survey whose voxels were read."""
    kept: dict[str, tuple[Repair, ...]] = {}
    left_out: list[LeftOut] = []
    seen: dict[str, str] = {}
    labels: dict[Path, str] = {}
    for case in survey.training:
        reason = next(_reasons(survey, case), None)
        values = case.image_voxels.values if case.image_voxels is not None else ""
        missing = case.faults and all(not fault.file.exists() for fault in case.faults)
        if reason is None and values in seen:
            left_out.append(LeftOut(case.name, f"holds the same image as case {seen[values]}", refused=False))
        elif reason is None and case.label is not None and case.label.file in labels:
            left_out.append(LeftOut(case.name, f"shares its label file with case {labels[case.label.file]}"))
        elif reason is not None:
            left_out.append(LeftOut(case.name, reason, refused=not missing))
        else:
            seen[values] = case.name
            if case.label is not None:
                labels[case.label.file] = case.name
            kept[case.name] = tuple(_of_case(case))
    return Repairs(kept, tuple(left_out))


def squared(grid: Grid) -> Grid:
    """The grid with square axes nearest to its own, about the same middle, its forms and unit made anew.

    The nearest rotation is the polar factor of the axes (Higham, Functions of Matrices, 2008, chapter 8).
    """
    spacing = np.array(grid.spacing_mm)
    left, _, right = np.linalg.svd(grid.affine[:3, :3] / spacing)
    affine = np.eye(4)
    affine[:3, :3] = (left @ right) * spacing
    middle = (np.array(grid.shape) - 1) / 2
    affine[:3, 3] = grid.affine[:3, :3] @ middle + grid.affine[:3, 3] - affine[:3, :3] @ middle
    return Grid(grid.shape, affine)


def mended(repair: Repair, array: NDArray) -> NDArray:
    """The (C, X, Y, Z) voxels with the repair done."""
    if repair.zero:
        array = np.where(np.isfinite(array), array, 0).astype(array.dtype)
    if repair.order is not None:
        array = np.stack([repair.order.applied(channel) for channel in array])
    if repair.whole and array.dtype.kind == "f":
        array = np.rint(array).astype(np.int32)
        low, high = int(array.min()), int(array.max())
        kinds = (np.uint8, np.int16, np.int32)
        array = array.astype(next(k for k in kinds if np.iinfo(k).min <= low and high <= np.iinfo(k).max))
    return array


def _reasons(survey: Survey, case: Case) -> Iterator[str]:
    """Why the case cannot be mended."""
    for fault in case.faults:
        yield f"{fault.file.name} {fault.fault}"
    channels = sum(image.channels for image in case.images)
    if channels != len(survey.dataset.channels):
        yield f"its image has {count(channels, 'channel')}, not {len(survey.dataset.channels)}"
    if case.image_voxels is not None:
        for number, channel in enumerate(case.image_voxels.channels):
            if channel.low == channel.high:
                yield f"channel {number} of its image is {channel.low:g} wherever it is finite"
    for image in case.images:
        if image.grid is not None and image.grid.shear > MAX_SHEAR:
            yield "its image has a sheared affine, which only resampling mends"
    for image in case.images[1:]:
        if case.image.grid is not None and image.grid is not None and _away(case.image.grid, image.grid):
            yield f"{image.file.name} is on another grid than {case.image.file.name}"
    yield from _label_reasons(survey, case)


def _label_reasons(survey: Survey, case: Case) -> Iterator[str]:
    if case.label is None or case.label_voxels is None or case.label.grid is None or case.image.grid is None:
        return
    label = case.label_voxels
    if case.label.channels != 1:
        yield f"its label map has {case.label.channels} channels"
    if label.counts is None:
        yield "its label map looks like an image"
        return
    if label.fractions and (label.off is None or label.off > ROUNDED):
        off = "NaN among them" if label.off is None else f"up to {label.off:.2g} off"
        yield f"its label map has {count(label.fractions, 'voxel')} that are no whole numbers, {off}: which was meant?"
    strange = sorted(set(label.counts) - set(survey.dataset.labels))
    if strange:
        yield f"its label map holds {', '.join(map(str, strange[:5]))}, which dataset.json does not name"
    if set(label.counts) == {0} and not label.fractions:
        yield "its label map is empty"
    image, own = case.image.grid, case.label.grid
    if _away(image, own) and reordering(image, own) is None and not _may_take_header(image, own):
        yield "its label map is on another grid than its image, and what is right cannot be told"


def _away(image: Grid, other: Grid) -> bool:
    return image.shape != other.shape or image.distance_mm(other.affine) > tolerance_mm(image)


def _may_take_header(image: Grid, label: Grid) -> bool:
    """May the label get its image's header? If it says nothing of its own, or nearly the same."""
    says_nothing = label.sform_code <= 0 and label.qform_code <= 0
    near = image.distance_mm(label.affine) <= TINY_VOXELS * min(image.spacing_mm)
    return image.shape == label.shape and (says_nothing or near)


def _of_case(case: Case) -> Iterator[Repair]:
    found = [_of_image(case, header, first) for first, header in _channels(case)]
    yield from found
    if case.label is not None:
        yield _of_label(case, case.label, found[0])


def _channels(case: Case) -> Iterator[tuple[int, Header]]:
    first = 0
    for header in case.images:
        yield first, header
        first += header.channels


def _of_image(case: Case, header: Header, first: int) -> Repair:
    repair, grid, voxels = Repair(header.file), header.grid, case.image_voxels
    assert grid is not None  # a case without is left out
    assert voxels is not None
    bad = sum(channel.not_finite for channel in voxels.channels[first : first + header.channels])
    words, mended_grid = _of_grid(grid)
    if bad:
        words = (f"put 0 for NaN or infinities in {count(bad, 'voxel')}", *words)
    return replace(repair, words=words, grid=mended_grid, zero=bool(bad))


def _of_grid(grid: Grid) -> tuple[tuple[str, ...], Grid | None]:
    words: list[str] = []
    if unit := OTHER_UNITS.get(grid.xyzt_units & 7):
        words.append(f"wrote its lengths in millimetres instead of {unit}")
    if disagree(grid):
        words.append("set its qform to its sform")
    elif two_sizes(grid) is not None:
        words.append("set its voxel sizes and qform to its sform")
    if grid.shear > SLIGHT_SHEAR:
        new = squared(grid)
        words.append(f"squared its axes, which moves no voxel by more than {grid.distance_mm(new.affine):.2g} mm")
        return tuple(words), new
    return tuple(words), Grid(grid.shape, grid.affine) if words else None


def _of_label(case: Case, header: Header, image: Repair) -> Repair:
    label, grid, own = case.label_voxels, case.image.grid, header.grid
    assert label is not None
    assert grid is not None
    assert own is not None
    words: list[str] = []
    order = None
    if _away(grid, own):
        order = reordering(grid, own)
        if order is None:
            words.append("gave it its image's header")
        else:
            words.append(f"reordered its voxels from {own.orientation} to its image's {grid.orientation}")
    elif own_words := _of_grid(own)[0]:
        words += own_words
    elif image.grid is not None and _away(image.grid, own):
        words.append("gave it its image's header")
    if label.fractions:
        words.append(f"rounded {count(label.fractions, 'voxel')}, none by more than {label.off:.2g}")
    if label.kind == "f":
        words.append("stored it as whole numbers")
    new = image.grid if image.grid is not None else Grid(grid.shape, grid.affine)
    return Repair(header.file, tuple(words), new if words else None, order, whole=label.kind == "f")
