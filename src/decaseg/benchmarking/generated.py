"""A volume to be timed on where no image is given: of the right size, and of nobody."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from decaseg.volume import Volume

COARSE = 12  # voxels between the places whose brightness is drawn


def generated_volume(channels: int, shape: Sequence[int], spacing_mm: Sequence[float], seed: int = 0) -> Volume:
    """(C, X, Y, Z) int16, smooth with a little noise, nowhere 0, so that nothing is cropped and no window is empty."""
    from scipy.ndimage import zoom

    random = np.random.default_rng(seed)
    image = np.empty((channels, *shape), np.int16)
    for channel in image:
        coarse = random.normal(500, 150, [-(-n // COARSE) + 1 for n in shape]).astype(np.float32)
        smooth = zoom(coarse, [(COARSE * (n - 1) + 1) / n for n in coarse.shape], order=1)
        cut = smooth[tuple(slice(n) for n in shape)]
        channel[:] = np.clip(cut + random.normal(0, 20, cut.shape), 1, 1000)
    return Volume.of(image, np.diag([*spacing_mm, 1.0]))
