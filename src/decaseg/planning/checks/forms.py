"""Headers that say two places in the patient (qform against sform), two sizes of voxels, or no place at all."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from decaseg.planning.checks.grids import TOLERANCE_VOXELS
from decaseg.planning.checks.problem import Problem, count
from decaseg.planning.checks.survey import Survey
from decaseg.volume import Grid


def find(survey: Survey) -> Iterator[Problem]:
    """A warning for each case whose forms disagree; one for all images without any."""
    for case in survey.training:
        for header in case.headers:
            if header.grid is not None and disagree(header.grid):
                apart = "is no rotation" if header.grid.qform is None else "says another"
                fault = (
                    f"its sform says one place in the patient and its qform {apart}, so programs show it differently"
                )
                fix = "set both to the right one (--fix: to the sform, by which decaseg goes)"
                yield Problem(header.file, fault, fix, "warning")
                break  # the label usually shares its image's header: one line is enough
            if header.grid is not None and (sizes := two_sizes(header.grid)) is not None:
                fault = f"its pixdim says voxels of {sizes[0]}, its sform of {sizes[1]}; programs measure differently"
                yield Problem(header.file, fault, "set both to the right size (--fix: to the sform's)", "warning")
                break
    unplaced = [
        case.image.file
        for case in survey.training
        if (grid := case.image.grid) is not None and grid.sform_code <= 0 and grid.qform_code <= 0
    ]
    if unplaced and survey.deep:  # one line for all of them: such files come in whole data sets
        others = f" (like {count(len(unplaced) - 1, 'other image')})" if len(unplaced) > 1 else ""
        fault = f"has neither sform nor qform in force{others}, so programs differ on where left is"
        fix = "convert it anew with its orientation; decaseg takes its axes as right, anterior, superior"
        yield Problem(unplaced[0], fault, fix, "warning")


def two_sizes(grid: Grid) -> tuple[str, str] | None:
    """The sizes of voxels that pixdim and the sform say, in the file's unit, where they put a voxel a tenth apart.

    Programs that go by pixdim where no qform is in force, as SimpleITK does, show such a file elsewhere: mirrored where
    a size is negative, in steps of 1 where it is 0 or no number.
    """
    if grid.sform is None or grid.sform_code <= 0 or len(grid.pixdim) != 3:
        return None
    with np.errstate(over="ignore"):
        steps = np.sqrt((grid.sform[:3, :3] ** 2).sum(axis=0))
        said = np.asarray(grid.pixdim, dtype=np.float64)
        taken = np.where(np.isfinite(said) & (said != 0), said, 1.0)
        apart = (np.abs(taken - steps) * np.maximum(np.array(grid.shape) - 1, 1)).max()
    if apart <= TOLERANCE_VOXELS * steps.min():
        return None
    first, second = (" x ".join(f"{value:.6g}" for value in sizes) for sizes in (said, steps))
    return first, second


def disagree(grid: Grid) -> bool:
    """Are both forms in force and do they put a voxel more than a tenth of a voxel apart?"""
    if grid.sform is None or grid.sform_code <= 0 or grid.qform_code <= 0:
        return False
    if grid.qform is None:
        return True
    own = grid.with_affine(grid.sform)  # the file's own unit on both sides
    return own.distance_mm(grid.qform) > TOLERANCE_VOXELS * min(own.spacing_mm)
