"""Images that are nearly the same: one patient under two ids, saved again, noised, scaled or mirrored."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from decaseg.planning.checks.problem import Problem
from decaseg.planning.checks.survey import Survey
from decaseg.planning.checks.thumbnails import comparables

FEWEST = 5
ALIKE = 0.98  # correlation; different patients in one atlas' space reach 0.95
TIMES = 0.1  # and what is missing to 1 must be this small a part of what it usually is to the nearest other case


def find(survey: Survey) -> Iterator[Problem]:
    """A warning for the later of two such cases; exact copies are the business of `duplicates`."""
    found = list(comparables(survey))
    if len(found) < FEWEST:
        return
    images = np.stack([one.image for one in found])
    flat = images.reshape(len(found), -1)
    for mirrored in (False, True):
        others = images[:, ::-1].reshape(len(found), -1) if mirrored else flat
        likeness = flat @ others.T / flat.shape[1]
        np.fill_diagonal(likeness, -1)
        missing = 1 - likeness.max(axis=1)
        usual = float(np.median(missing))
        for place in range(1, len(found)):
            nearest = int(likeness[place, :place].argmax())
            gap = 1 - float(likeness[place, nearest])
            if gap > min(1 - ALIKE, TIMES * usual):
                continue
            this, first = found[place].case, found[nearest].case
            assert this.image_voxels is not None
            assert first.image_voxels is not None
            if this.image_voxels.values == first.image_voxels.values:
                continue
            how = "nearly the mirror image" if mirrored else "nearly the same image"
            fault = f"holds {how} as case {first.name} (correlation {1 - gap:.4f}), so it may be the same patient"
            fix = "if it is, drop one or keep both in one fold"
            yield Problem(this.image.file, fault.replace("image as", "image of") if mirrored else fault, fix, "warning")
