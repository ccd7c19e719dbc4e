"""One slice of a validation case with truth and prediction drawn round, as an array; no plotting library."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TRUTH, PREDICTION = (64, 220, 96), (255, 96, 56)  # green, orange; where both lines lie, the prediction's is seen
MIN_EDGE = 256  # pixels: small volumes are drawn larger, voxel by voxel


def picture(image: NDArray, truth: list[NDArray[np.bool_]], found: list[NDArray[np.bool_]]) -> NDArray[np.uint8]:
    """The axial slice with the most truth, as (rows, columns, 3), hung as radiologists do: the right on the left.

    `image` is one channel (X, Y, Z) in RAS order, `truth` and `found` one mask a structure. Where there is no truth,
    the middle slice.
    """
    area = sum((mask.sum(axis=(0, 1)) for mask in truth), np.zeros(image.shape[2]))
    index = int(area.argmax()) if area.any() else image.shape[2] // 2
    times = max(1, -(-MIN_EDGE // max(image.shape[:2])))
    grey = _hung(_grey(image[:, :, index]), times)
    drawn = np.repeat(grey[:, :, None], 3, axis=2)
    for masks, colour in ((truth, TRUTH), (found, PREDICTION)):
        for mask in masks:
            drawn[_outline(_hung(mask[:, :, index], times))] = colour
    return drawn


def _grey(values: NDArray) -> NDArray[np.uint8]:
    low, high = np.percentile(values.astype(np.float32), (0.5, 99.5))
    share = (values.astype(np.float32) - low) / max(float(high - low), 1e-6)
    return (np.clip(share, 0, 1) * 255).astype(np.uint8)


def _hung(section: NDArray, times: int) -> NDArray:
    """(X, Y) as (rows, columns): anterior at the top, the patient's right on the left, each voxel `times` as large."""
    return section[::-1, ::-1].T.repeat(times, axis=0).repeat(times, axis=1)


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels of a mask that touch what is outside, along rows and columns."""
    padded = np.pad(mask, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    edge: NDArray[np.bool_] = mask & ~inside
    return edge
