"""Sliding-window prediction of a whole volume, with Gaussian weights where windows overlap.

The windows, weights and averaging of logits are those of nnU-Net and of MONAI's `sliding_window_inference`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from decaseg.geometry import Int3, int3

Infer = Callable[[NDArray[np.float32]], NDArray[np.float32]]
GAUSSIAN_SIGMA = 0.125  # of the window's length, as in nnU-Net and MONAI


def window_starts(size: int, window: int, step: float) -> list[int]:
    """Starts of windows along one axis: evenly spread, at most `step` windows apart, the ends covered.

    >>> window_starts(100, 40, 0.5)
    [0, 20, 40, 60]
    """
    if not 0 < step <= 1:
        raise ValueError(f"--step {step}: must be above 0 and at most 1")
    if size <= window:
        return [0]
    count = int(np.ceil((size - window) / max(window * step, 1))) + 1
    return [round(i * (size - window) / (count - 1)) for i in range(count)]


@lru_cache(maxsize=8)
def gaussian_weights(window: Int3) -> NDArray[np.float32]:
    """(X, Y, Z) weights that trust the middle of a window: a Gaussian of an eighth of its length.

    Nowhere below a thousandth, so that voxels seen only at a window's edge still get a clear answer.
    """
    axes = [
        np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (n * GAUSSIAN_SIGMA)) ** 2).astype(np.float32) for n in window
    ]
    weights = axes[0][:, None, None] * axes[1][None, :, None] * axes[2][None, None, :]
    weights = np.maximum(weights, np.float32(1e-3))
    weights.setflags(write=False)
    return weights


def slide(
    image: NDArray[np.float32],
    window: Int3,
    infer: Infer,
    step: float = 0.5,
    batch_size: int = 1,
    on_window: Callable[[int, int], None] | None = None,
) -> NDArray[np.float32]:
    """Logits (K, X, Y, Z) of a (C, X, Y, Z) image; `infer` maps (B, C, *window) to (B, K, *window).

    A volume smaller than the window is padded with 0 on both sides and cut back. Memory: the image, plus K + 1
    float32 volumes, plus what `infer` takes for a batch of windows.
    """
    size = image.shape[1:]
    short = [max(w - n, 0) for n, w in zip(size, window, strict=True)]
    before = [s // 2 for s in short]
    if any(short):
        image = np.pad(image, [(0, 0), *((b, s - b) for b, s in zip(before, short, strict=True))])
    padded = image.shape[1:]
    starts = list(product(*(window_starts(n, w, step) for n, w in zip(padded, window, strict=True))))
    weights = gaussian_weights(window)
    total: NDArray[np.float32] | None = None
    weight_sum = np.zeros(padded, np.float32)
    for first in range(0, len(starts), batch_size):
        places = [_slices(start, window) for start in starts[first : first + batch_size]]
        logits = infer(np.stack([np.ascontiguousarray(image[(slice(None), *place)]) for place in places]))
        if total is None:
            total = np.zeros((logits.shape[1], *padded), np.float32)
        for place, one in zip(places, logits, strict=True):
            total[(slice(None), *place)] += one * weights
            weight_sum[place] += weights
        if on_window:
            on_window(min(first + batch_size, len(starts)), len(starts))
    assert total is not None
    total /= weight_sum
    inner = tuple(slice(b, b + n) for b, n in zip(before, size, strict=True))
    return total[(slice(None), *inner)]


def _slices(start: Sequence[int], window: Int3) -> tuple[slice, ...]:
    return tuple(slice(s, s + w) for s, w in zip(int3(start), window, strict=True))
