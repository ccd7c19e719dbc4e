"""Cases made comparable: the first channel in 24^3 cells, right, anterior, superior, cut to the body."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decaseg.planning.checks.grids import tolerance_mm
from decaseg.planning.checks.survey import Case, Survey
from decaseg.volume import Grid

SIDE = 20  # of a cut and standardised thumbnail
BODY = 0.1  # of the range from dark to bright: what is above is body


@dataclass(frozen=True)
class Comparable:
    """A case that can be compared: `image` (SIDE^3, mean 0, deviation 1, cut to the body); `raw` and `label`, uncut."""

    case: Case
    image: NDArray[np.float32]
    raw: NDArray[np.float32]
    label: NDArray[np.float32] | None


def comparables(survey: Survey) -> Iterator[Comparable]:
    """The training cases whose image could be read and shows something; the label only on its image's grid."""
    for case in survey.training:
        grid, voxels = case.image.grid, case.image_voxels
        if grid is None or voxels is None or voxels.channels[0].low == voxels.channels[0].high:
            continue
        raw = upright(voxels.thumbnail.array, grid)
        drawn = case.label_voxels if _lies_on(case, grid) else None
        label = upright(drawn.thumbnail.array, grid) if drawn is not None and drawn.centres else None
        yield Comparable(case, _standard(raw), raw, label)


def _lies_on(case: Case, image: Grid) -> bool:
    """Is the label map on its image's grid? If not, `grids` says so, and what it fits is another matter."""
    own = case.label.grid if case.label is not None else None
    return own is not None and own.shape == image.shape and image.distance_mm(own.affine) <= tolerance_mm(image)


def upright(cells: NDArray[np.float32], grid: Grid) -> NDArray[np.float32]:
    """Cells in the file's axes as (right, anterior, superior), as the header says."""
    axis_of = {world: axis for axis, (world, _) in enumerate(grid.axes)}
    turned = cells.transpose([axis_of[world] for world in range(3)])
    return turned[tuple(slice(None, None, grid.axes[axis_of[world]][1]) for world in range(3))]


def _standard(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    body = cells > BODY
    places = []
    for axis in range(3):
        hits = np.flatnonzero(body.any(axis=tuple(i for i in range(3) if i != axis)))
        first, last = (hits[0], hits[-1]) if hits.size else (0, cells.shape[axis] - 1)
        places.append(np.linspace(first, last, SIDE).round().astype(np.intp))
    cut = cells[np.ix_(*places)].astype(np.float64)
    return ((cut - cut.mean()) / max(float(cut.std()), 1e-9)).astype(np.float32)
