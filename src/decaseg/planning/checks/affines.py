"""Affines whose axes are not square to each other: voxels are then no boxes, and most programs assume boxes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from decaseg.planning.checks.problem import Problem
from decaseg.planning.checks.survey import Survey

SLIGHT_SHEAR = 1e-3  # cosine: 0.06 degrees, half a voxel at the end of 500; rounding in headers stays well below
MAX_SHEAR = 0.01  # from here on prediction refuses the image


def find(survey: Survey) -> Iterator[Problem]:
    """A warning where the axes are slightly off, an error where prediction would refuse the image."""
    for case in survey.training:
        header = case.image
        if header.grid is None or (shear := header.grid.shear) <= SLIGHT_SHEAR:
            continue
        degrees = np.degrees(np.arcsin(min(shear, 1.0)))
        fault = f"has a sheared affine (its axes are {degrees:.2g} degrees from square; 0.06 are borne)"
        if shear > MAX_SHEAR:
            yield Problem(header.file, fault, "resample image and label to a grid of boxes (a scanner's gantry tilt?)")
        else:
            yield Problem(header.file, fault, "square its axes (--fix does) or resample it", "warning")
