"""Which lesions are there, which were found and which were made up, as BraTS 2023 counts them.

The rule (Saluja et al., github.com/rachitsaluja/BraTS-2023-Metrics; announced in the challenge's forum, Synapse
syn51156910, thread 10357):

1. The truth is dilated; what then hangs together (26 neighbours) is one lesion, so crumbs beside a lesion are part of
   it. The dilated mask decides what belongs together and what is found, never what a lesion's voxels are.
2. Predicted components (26 neighbours) that touch a lesion's dilated mask are that lesion's prediction, all together.
3. Lesions up to a volume are left out, with what was predicted for them. A component that touches no lesion is false.

Checked against a slow transcription of these steps in tests/metrics/test_lesions.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from decaseg.geometry import Float3

CONNECTED = np.ones((3, 3, 3), dtype=bool)  # 26 neighbours


@dataclass(frozen=True)
class LesionRule:
    """How far lesions are dilated before they are told apart, and up to which volume they do not count."""

    dilation_mm: float
    ignored_up_to_mm3: float


LESION_RULES: dict[str, LesionRule] = {  # by the challenges of BraTS 2023 that used them
    "glioma": LesionRule(3.0, 50.0),  # GLI, SSA and PED
    "meningioma": LesionRule(1.0, 50.0),
    "metastases": LesionRule(1.0, 2.0),
}


@dataclass(frozen=True, eq=False)
class Lesions:
    """The lesions that count: (predicted, true) masks of each one that was found, cut to a box round both.

    `missed` lesions have no prediction, `false` components no lesion.
    """

    found: tuple[tuple[NDArray[np.bool_], NDArray[np.bool_]], ...]
    missed: int
    false: int

    @property
    def total(self) -> int:
        """What means are taken over."""
        return len(self.found) + self.missed + self.false


def find_lesions(
    prediction: NDArray[np.bool_], truth: NDArray[np.bool_], spacing_mm: Float3, rule: LesionRule
) -> Lesions:
    """Tells the lesions of two (X, Y, Z) masks apart and matches them.

    The arrays may be cut to any box that holds both masks: what a dilated mask touches outside of it, it touches
    inside of it too, because moving two points into the box moves neither further from the masks or from each other.
    """
    region, lesions = ndimage.label(dilated(truth, spacing_mm, rule.dilation_mm), CONNECTED)
    component, components = ndimage.label(prediction, CONNECTED)
    touching = np.unique(component[prediction].astype(np.int64) * (lesions + 1) + region[prediction])
    touched, lesion_of = np.divmod(touching, lesions + 1)
    touched, lesion_of = touched[lesion_of > 0], lesion_of[lesion_of > 0]  # 0 is the space between lesions
    voxels = np.bincount(region[truth], minlength=lesions + 1)
    counted = voxels * float(np.prod(spacing_mm)) > rule.ignored_up_to_mm3 * (1 + 1e-9)
    boxes = [ndimage.find_objects(a) if n else [] for a, n in ((region, lesions), (component, components))]
    found, missed = [], 0
    for lesion in np.flatnonzero(counted[1:]) + 1:
        own = touched[lesion_of == lesion]
        if own.size:
            box = _around([boxes[0][lesion - 1], *(boxes[1][i - 1] for i in own)])
            found.append((np.isin(component[box], own), truth[box] & (region[box] == lesion)))
        else:
            missed += 1
    return Lesions(tuple(found), missed, components - np.unique(touched).size)


def dilated(mask: NDArray[np.bool_], spacing_mm: Float3, reach_mm: float) -> NDArray[np.bool_]:
    """The voxels within reach of the mask: |x|, |y| and |z| up to `reach_mm`, their sum up to twice that.

    At 1 mm and 3 mm that is BraTS' dilation: scipy's 18-neighbour structure, three times. Given in millimetres, it
    reaches as far on every grid. It is put together from runs along z, shifted along y, then along x.
    """
    steps = [int(reach_mm / s * (1 + 1e-9)) for s in spacing_mm]
    runs = [mask]
    for _ in range(steps[2]):
        runs.append(_shifted_or(runs[-1], runs[-1], 2, 1))
    out = np.zeros_like(mask)
    for x in range(steps[0] + 1):
        plane = np.zeros_like(mask)
        for y in range(steps[1] + 1):
            left_mm = 2 * reach_mm * (1 + 1e-9) - x * spacing_mm[0] - y * spacing_mm[1]
            if left_mm >= 0:
                run = runs[min(steps[2], int(left_mm / spacing_mm[2]))]
                plane = _shifted_or(plane, run, 1, y)
        out = _shifted_or(out, plane, 0, x)
    return out


def _shifted_or(base: NDArray[np.bool_], other: NDArray[np.bool_], axis: int, by: int) -> NDArray[np.bool_]:
    """`base` or `other` moved by `by` voxels both ways along `axis`; what leaves the array is gone."""
    out = base | other if by == 0 else base.copy()
    if 0 < by < base.shape[axis]:
        low = tuple(slice(0, -by) if i == axis else slice(None) for i in range(3))
        high = tuple(slice(by, None) if i == axis else slice(None) for i in range(3))
        out[low] |= other[high]
        out[high] |= other[low]
    return out


def _around(boxes: Sequence[tuple[slice, ...]]) -> tuple[slice, ...]:
    """The smallest box round boxes: of a hundred small lesions each is then scored in its own corner of the image."""
    return tuple(slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in zip(*boxes, strict=True))
