"""Boxes, spacings and shapes: numbers in, numbers out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import SupportsFloat, SupportsInt

import numpy as np
from numpy.typing import NDArray

Int3 = tuple[int, int, int]
Float3 = tuple[float, float, float]
HALF_TURN = 1e-7  # less than this left for the square of a quaternion's real part is float32's rounding


@dataclass(frozen=True)
class Box:
    """A half-open box of voxels: `start` is inside, `stop` is not. Axis order (X, Y, Z)."""

    start: Int3
    stop: Int3

    @property
    def shape(self) -> Int3:
        """Voxels along each axis."""
        return int3(b - a for a, b in zip(self.start, self.stop, strict=True))

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """What cuts the box out of an (X, Y, Z) array: `array[box.slices]`."""
        a, b = self.start, self.stop
        return slice(a[0], b[0]), slice(a[1], b[1]), slice(a[2], b[2])

    def grown(self, margin: int, shape: Sequence[int]) -> Box:
        """The box with `margin` more voxels on every side, kept inside a volume of `shape`."""
        return Box(
            int3(max(0, a - margin) for a in self.start),
            int3(min(n, b + margin) for b, n in zip(self.stop, shape, strict=True)),
        )


def int3(values: Iterable[SupportsInt]) -> Int3:
    """Three whole numbers from any iterable of three; a ValueError when there are more or fewer."""
    a, b, c = values
    return int(a), int(b), int(c)


def float3(values: Iterable[SupportsFloat]) -> Float3:
    """Three floats from any iterable of three; a ValueError when there are more or fewer."""
    a, b, c = values
    return float(a), float(b), float(c)


def bounding_box(mask: NDArray) -> Box | None:
    """The smallest box round all true voxels of a (X, Y, Z) mask; None when there is none.

    >>> m = np.zeros((4, 4, 4), bool); m[1, 2, 0] = m[2, 2, 3] = True
    >>> bounding_box(m)
    Box(start=(1, 2, 0), stop=(3, 3, 4))
    """
    start, stop = [], []
    for axis in range(3):
        others = tuple(i for i in range(3) if i != axis)
        hits = np.flatnonzero(mask.any(axis=others))
        if hits.size == 0:
            return None
        start.append(int(hits[0]))
        stop.append(int(hits[-1]) + 1)
    return Box(int3(start), int3(stop))


def resampled_shape(shape: Sequence[int], spacing_mm: Sequence[float], target_mm: Sequence[float]) -> Int3:
    """Voxels that a volume has after resampling, at least one on each axis.

    >>> resampled_shape((100, 100, 10), (1, 1, 5), (2, 1, 1))
    (50, 100, 50)
    """
    return int3(max(1, round(n * s / t)) for n, s, t in zip(shape, spacing_mm, target_mm, strict=True))


def turned_by(b: float, c: float, d: float) -> NDArray[np.float64] | None:
    """The 3x3 rotation of NIfTI's quaternion (its real part is what is left to length 1), None where it is none.

    As the standard's own code (nifti1_io.c, `nifti_quatern_to_mat44`) takes half turns: what is left of them is noise
    of float32, so the real part is 0 and b, c, d are brought to length 1. What is longer than rounding makes it, which
    that code takes too, is refused here.

    >>> turned_by(0.0, 0.0, 1.0).tolist()
    [[-1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    left = 1.0 - (b * b + c * c + d * d)
    if not left > -3 * float(np.finfo(np.float32).eps):  # not for NaN either
        return None
    if left < HALF_TURN:
        a, scale = 0.0, 1.0 / float(np.sqrt(b * b + c * c + d * d))
        b, c, d = b * scale, c * scale, d * scale
    else:
        a = float(np.sqrt(left))
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
