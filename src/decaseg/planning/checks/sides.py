"""Named anatomy on the wrong side of the body: livers on the left, spleens on the right, posterior parts in front."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from decaseg.geometry import Float3
from decaseg.planning.checks.problem import Problem
from decaseg.planning.checks.survey import Case, Survey
from decaseg.planning.checks.thumbnails import BODY, upright

FEWEST = 3
MOST = 0.8  # of the cases
OFF_CENTRE = 0.05  # of the body's width, in the median; nearer to the middle it tells nothing
ORGANS = {"liver": 1, "spleen": -1, "gallbladder": 1, "gall bladder": 1, "stomach": -1}  # 1: on the patient's right
OPPOSITES = (("left", "right", 0), ("posterior", "anterior", 1), ("inferior", "superior", 2), ("lower", "upper", 2))


def find(survey: Survey) -> Iterator[Problem]:
    """A warning for each name that most cases belie: then the headers are wrong, or the names are."""
    names = {name.lower().strip(): value for value, name in survey.dataset.structures.items()}
    for organ, side in ORGANS.items():
        if organ in names:
            offsets = [off for case in survey.training if (off := _off_centre(case, names[organ])) is not None]
            words = "left" if side > 0 else "right"
            yield from _said(survey, [-side * off for off in offsets], f"{organ} lies on the patient's {words}")
    for name, value in names.items():
        for first, second, axis in OPPOSITES:
            other = names.get(re.sub(rf"\b{first}\b", second, name))
            if re.search(rf"\b{first}\b", name) and other is not None:
                pairs = [_difference(case, value, other, axis) for case in survey.training]
                wrong = f'"{name}" lies further {second} than its counterpart'
                yield from _said(survey, [off for off in pairs if off is not None], wrong)


def _said(survey: Survey, wrongness: list[float], words: str) -> Iterator[Problem]:
    """`wrongness`: how far each case lies on the wrong side, as a share of the body; negative: on the right one."""
    wrong = sum(off > 0 for off in wrongness)
    if len(wrongness) < FEWEST or wrong < MOST * len(wrongness) or np.median(wrongness) < OFF_CENTRE:
        return
    fault = f"{words} in {wrong} of {len(wrongness)} cases, by the headers: anatomy is stored mirrored or turned"
    fix = "mend the affines, or use what is trained on it for the same source only (docs/explanation/check.md)"
    yield Problem(survey.description, fault, fix, "warning")


def _off_centre(case: Case, value: int) -> float | None:
    """How far right of the body's middle a structure lies, as a share of the body's width."""
    centre, grid, voxels = _centre(case, value), case.image.grid, case.image_voxels
    if centre is None or grid is None or voxels is None:
        return None
    body = upright(voxels.thumbnail.array, grid) > BODY
    hits = np.flatnonzero(body.any(axis=(1, 2)))
    if not hits.size or hits[-1] == hits[0]:
        return None
    cells = body.shape[0]
    place = centre[0] * (cells - 1)
    return float((place - (hits[0] + hits[-1]) / 2) / (hits[-1] - hits[0]))


def _difference(case: Case, first: int, second: int, axis: int) -> float | None:
    """How far the first structure lies further along a world axis than the second, as a share of the volume."""
    one, other = _centre(case, first), _centre(case, second)
    return None if one is None or other is None else float(one[axis] - other[axis])


def _centre(case: Case, value: int) -> NDArray[np.float64] | None:
    """A structure's centre, right, anterior, superior, as a share of the volume: 0 to 1."""
    grid, voxels = case.image.grid, case.label_voxels
    if grid is None or voxels is None or value not in voxels.centres:
        return None
    return _upright_share(voxels.centres[value], grid.shape, grid.axes)


def _upright_share(
    index: Float3, shape: tuple[int, int, int], axes: tuple[tuple[int, int], ...]
) -> NDArray[np.float64]:
    share = np.zeros(3)
    for axis, (world, sign) in enumerate(axes):
        along = index[axis] / max(1, shape[axis] - 1)
        share[world] = along if sign > 0 else 1 - along
    return share
