"""Lengths in another unit than millimetres, declared or not, and voxel sizes that no scanner makes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from decaseg.planning.checks.problem import Problem
from decaseg.planning.checks.survey import Header, Survey

NAMES = {1: "metres", 3: "microns"}
SMALLEST_MM, LARGEST_MM = 0.01, 30.0  # voxels outside were not made by a clinical scanner
SHORTEST_MM, LONGEST_MM = 2.0, 3000.0  # nor were images whose longest side is outside
FEW, FACTOR = 4, 8.0  # of so many cases and more, one whose voxels are so many times as long stands out


def find(survey: Survey) -> Iterator[Problem]:
    """Warnings: decaseg converts declared units, but many programs do not; implausible ones are somebody's slip."""
    headers = [header for case in survey.training for header in case.headers]
    for header in headers:
        if header.grid is not None and (unit := NAMES.get(header.grid.xyzt_units & 7)):
            fault = f"stores its lengths in {unit}, which decaseg converts and many programs take for millimetres"
            yield Problem(header.file, fault, "write them in millimetres (--fix does)", "warning")
    images = [case.image for case in survey.training if case.image.grid is not None]
    lengths = {image.file: _length_mm(image) for image in images}
    usual = float(np.median(list(lengths.values()))) if lengths else 1.0
    for image in images:
        spacing = image.grid.spacing_mm if image.grid is not None else (1.0, 1.0, 1.0)
        sides = [s * n for s, n in zip(spacing, image.grid.shape if image.grid else (1, 1, 1), strict=True)]
        size = " x ".join(f"{s:.3g}" for s in spacing)
        times = max(lengths[image.file] / usual, usual / lengths[image.file])
        if min(spacing) < SMALLEST_MM or max(spacing) > LARGEST_MM or not SHORTEST_MM <= max(sides) <= LONGEST_MM:
            fault = f"has voxels of {size} mm and is {max(sides):.3g} mm long, which no scanner makes"
            yield Problem(image.file, fault, "mend its voxel size; were metres or microns meant?", "warning")
        elif len(images) >= FEW and times > FACTOR:
            fault = f"has voxels of {size} mm, {times:.0f} times off the usual {usual:.3g} mm of this data set"
            yield Problem(image.file, fault, "mend its voxel size, or make sure that it is right", "warning")


def _length_mm(header: Header) -> float:
    """The side of a cube as large as a voxel."""
    assert header.grid is not None
    return max(float(np.prod(header.grid.spacing_mm) ** (1 / 3)), 1e-100)  # a header may hold any number
