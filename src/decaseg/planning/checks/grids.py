"""Image and label on different grids: another shape, another place, another orientation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decaseg.planning.checks.problem import Problem
from decaseg.planning.checks.survey import Survey
from decaseg.volume import Grid

TOLERANCE_VOXELS = 0.1  # how far two affines may put the same voxel apart before the grids are not the same


@dataclass(frozen=True)
class Reordering:
    """How a label's voxels become its image's: `array.transpose(axes)[flips]`, without a value changed."""

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    def applied(self, array: NDArray) -> NDArray:
        """The (X, Y, Z) array in the image's order of axes."""
        turned = array.transpose(self.axes)
        return turned[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]


def find(survey: Survey) -> Iterator[Problem]:
    """One problem for each label, or further channel, that is not voxel on voxel with its image."""
    for case in survey.training:
        for header in case.headers[1:]:
            if case.image.grid is not None and header.grid is not None:
                fault_and_fix = _apart(case.image.file.name, case.image.grid, header.grid)
                if fault_and_fix is not None:
                    yield Problem(header.file, *fault_and_fix)


def tolerance_mm(image: Grid) -> float:
    """What is borne, in millimetres: a tenth of the smallest side of a voxel."""
    return TOLERANCE_VOXELS * min(image.spacing_mm)


def reordering(image: Grid, label: Grid) -> Reordering | None:
    """The way from label to image where both are the same grid with its axes stored in another order or direction.

    None where they are not, by `tolerance_mm`: then voxels would have to be resampled.
    """
    steps = np.linalg.solve(image.affine[:3, :3], label.affine[:3, :3])  # label's axes in steps of the image's
    signs = np.rint(steps)
    if not ((np.abs(signs).sum(axis=0) == 1).all() and (np.abs(signs).sum(axis=1) == 1).all()):
        return None
    axes = tuple(int(np.abs(row).argmax()) for row in signs)  # image axis i is the label's axis axes[i]
    flips = tuple(bool(signs[i, axes[i]] < 0) for i in range(3))
    if tuple(label.shape[axis] for axis in axes) != image.shape:
        return None
    move = np.zeros((4, 4))  # from an image's index to the label's
    move[3, 3] = 1
    for i, (axis, flip) in enumerate(zip(axes, flips, strict=True)):
        move[axis, i] = -1 if flip else 1
        move[axis, 3] = image.shape[i] - 1 if flip else 0
    if image.distance_mm(label.affine @ move) > tolerance_mm(image):
        return None
    return Reordering((axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2]))


def _apart(name: str, image: Grid, label: Grid) -> tuple[str, str] | None:
    if image.shape == label.shape and image.distance_mm(label.affine) <= tolerance_mm(image):
        return None
    if (way := reordering(image, label)) is not None:
        fault = f"is stored as {label.orientation}, but its image {name} as {image.orientation}"
        swapped = ", with its axes swapped" if way.axes != (0, 1, 2) else ""
        return f"{fault}{swapped} (the same place in the patient)", "reorder its voxels like the image's (--fix does)"
    if image.shape != label.shape:
        swapped = ", with its axes swapped" if sorted(image.shape) == sorted(label.shape) else ""
        fault = f"is {_size(label)} voxels, but its image {name} is {_size(image)}{swapped}"
        return fault, "resample the label to the image's grid or pair it with its own image"
    turned = f", orientation {label.orientation} and {image.orientation}" * (label.orientation != image.orientation)
    fault = (
        f"lies up to {image.distance_mm(label.affine):.3g} mm away from its image {name} "
        f"(their affines differ{turned}; {tolerance_mm(image):.2g} mm, a tenth of a voxel, are borne)"
    )
    return fault, "copy the image's header if it was drawn on this image, else resample it"


def _size(grid: Grid) -> str:
    return " x ".join(map(str, grid.shape))
