"""How far a front has come in tissues that let it pass at different speeds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decaseg.data.phantom.frame import Array

NEVER = np.float32(1e6)


def arrival_time(speed: Array, source: NDArray[np.bool_], spacing_mm: float, steps: int) -> Array:
    """Solves the eikonal equation |grad T| speed = 1 with T = 0 on `source`, (X, Y, Z).

    `speed` in mm per unit of time. Godunov's upwind scheme (Rouy and Tourin, SIAM J Numer Anal 1992), all voxels at
    once: each step carries the front one voxel on, so times are right up to `steps` voxels away, NEVER beyond.
    """
    time = np.full([n + 2 for n in speed.shape], NEVER, np.float32)
    inner = time[1:-1, 1:-1, 1:-1]
    inner[source] = 0
    slowness = (spacing_mm / np.maximum(speed, 1e-4)).astype(np.float32)
    for _ in range(steps):
        a = np.minimum(time[:-2, 1:-1, 1:-1], time[2:, 1:-1, 1:-1])
        b = np.minimum(time[1:-1, :-2, 1:-1], time[1:-1, 2:, 1:-1])
        c = np.minimum(time[1:-1, 1:-1, :-2], time[1:-1, 1:-1, 2:])
        np.minimum(inner, _upwind(a, b, c, slowness), out=inner)
    return inner.copy()


def _upwind(a: Array, b: Array, c: Array, slowness: Array) -> Array:
    """The time that the earliest neighbours along three axes give: from one, two or all three of them."""
    low, rest = np.minimum(a, b), np.maximum(a, b)
    low, high = np.minimum(low, c), np.maximum(rest, c)
    middle = np.maximum(np.minimum(a, b), np.minimum(rest, c))
    found = low + slowness
    gap = middle - low
    two = (low + middle + np.sqrt(np.maximum(2 * slowness**2 - gap**2, 0))) / 2
    found = np.where(found > middle, two, found)
    total = low + middle + high
    # Differences to `low` keep float32 exact where NEVER would swamp the squares.
    gap_high = np.minimum(high - low, 1e3)
    gap = np.minimum(gap, 1e3)
    root = (gap + gap_high) ** 2 - 3 * (gap**2 + gap_high**2 - slowness**2)
    three = np.where(root >= 0, (total + np.sqrt(np.maximum(root, 0))) / 3, found)
    return np.where(found > high, three, found)
