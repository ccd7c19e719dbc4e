"""Structures far larger or smaller than in the other cases, and cases that lack what all others have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from decaseg.planning.checks.problem import Problem, count
from decaseg.planning.checks.robust import modified_z
from decaseg.planning.checks.survey import Case, Survey

FEWEST = 5  # cases with the structure, to say what is usual
FACTOR = 3.0  # of the median; a structure may well be twice or half as large
FLOOR = 0.1  # of the logarithm: sets of equal volumes are judged as if they varied by a tenth
ABSENT = 0.02  # of the cases may lack a structure that the others have, before it counts as usual


def limit(cases: int) -> float:
    """How many standard deviations make an outlier: 3.5 of many, more of few, whose spread is known badly.

    >>> limit(10), limit(500)
    (5.25, 3.535)
    """
    return 3.5 * (1 + 5 / cases)


def find(survey: Survey) -> Iterator[Problem]:
    """Warnings, by the logarithm of millilitres."""
    known = [case for case in survey.training if _is_drawn(case)]
    for value, name in survey.dataset.structures.items():
        having = [case for case in known if _voxels(case, value)]
        lacking = [case for case in known if not _voxels(case, value)]
        if having and len(known) > FEWEST and len(lacking) <= max(1, ABSENT * len(known)):
            for case in lacking:
                fault = f'has no "{name}" ({value}), which {len(having)} of {len(known)} cases have'
                yield Problem(_label(case), fault, "make sure that it was not forgotten", "warning")
        if len(having) >= FEWEST:
            yield from _outliers(having, value, name)


def _is_drawn(case: Case) -> bool:
    """Has it a label map that holds something and could be its image's?"""
    if case.label is None or case.label_voxels is None or case.label.grid is None or case.image.grid is None:
        return False
    same = sorted(case.label.grid.shape) == sorted(case.image.grid.shape)
    return same and bool(case.label_voxels.centres) and case.label_voxels.counts is not None


def _outliers(cases: list[Case], value: int, name: str) -> Iterator[Problem]:
    ml = np.maximum([_voxels(case, value) * _voxel_ml(case) for case in cases], 1e-100)  # headers may hold any number
    usual = float(np.median(ml))
    scores = modified_z(np.log(ml), FLOOR)
    for case, volume_ml, score in zip(cases, ml, scores, strict=True):
        times = max(volume_ml / usual, usual / volume_ml)
        if abs(score) > limit(len(cases)) and times > FACTOR:
            size = f"{volume_ml:.3g} ml ({count(_voxels(case, value), 'voxel')})"
            fault = f'has {size} of "{name}" ({value}), the usual are {usual:.3g} ml (modified z {score:.1f})'
            yield Problem(_label(case), fault, "look at it; is it drawn right, in the right place?", "warning")


def _voxels(case: Case, value: int) -> int:
    counts = case.label_voxels.counts if case.label_voxels is not None else None
    return counts.get(value, 0) if counts is not None else 0


def _voxel_ml(case: Case) -> float:
    assert case.label is not None
    assert case.label.grid is not None
    return case.label.grid.voxel_ml


def _label(case: Case) -> Path:
    assert case.label is not None
    return case.label.file
