"""A volume to be timed on where no image is given: of the right size, and of nobody."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from decaseg.volume import Volume

COARSE = 12  # voxels between the places whose brightness is drawn


def generated_volume(channels: int, shape: Sequence[int], spacing_mm: Sequence[float], seed: int = 0) -> Volume:
    """(C, X, Y, Z) int16, smooth with a little noise, nowhere 0, so that nothing is cropped and no window is empty."""
    random = np.random.default_rng(seed)
    image = np.empty((channels, *shape), np.int16)
    for channel in image:
        smooth = random.normal(500, 150, [-(-n // COARSE) + 1 for n in shape]).astype(np.float32)
        for axis, n in enumerate(shape):
            smooth = _stretched(smooth, axis, n)
        channel[:] = np.clip(smooth + random.normal(0, 20, shape), 1, 1000)
    return Volume.of(image, np.diag([*spacing_mm, 1.0]))


def _stretched(array: NDArray[np.float32], axis: int, length: int) -> NDArray[np.float32]:
    """Linear interpolation to `length` values along an axis, COARSE of them between two old ones."""
    places = np.arange(length, dtype=np.float32) / COARSE
    low = places.astype(int)
    share = (places - low).reshape([-1 if a == axis else 1 for a in range(array.ndim)])
    return np.take(array, low, axis) * (1 - share) + np.take(array, low + 1, axis) * share
