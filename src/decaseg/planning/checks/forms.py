"""Headers that say two places in the patient (qform against sform), or none."""

from __future__ import annotations

from collections.abc import Iterator

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


def disagree(grid: Grid) -> bool:
    """Are both forms in force and do they put a voxel more than a tenth of a voxel apart?"""
    if grid.sform is None or grid.sform_code <= 0 or grid.qform_code <= 0:
        return False
    if grid.qform is None:
        return True
    own = grid.with_affine(grid.sform)  # the file's own unit on both sides
    return own.distance_mm(grid.qform) > TOLERANCE_VOXELS * min(own.spacing_mm)
