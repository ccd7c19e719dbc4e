"""Resampling between grids of other spacing; voxels are boxes, so the edges of both volumes coincide."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ANISOTROPIC = 3.0  # nnU-Net's threshold: beyond it, interpolating between slices invents anatomy


def resample_image(image: NDArray, shape: Sequence[int], spacing_mm: Sequence[float]) -> NDArray[np.float32]:
    """A (C, X, Y, Z) image on a grid of `shape`: cubic, but nearest across slices thicker than 3 times the rest.

    `spacing_mm` is the spacing the image has. Same alignment and orders as nnU-Net's default resampling.
    """
    if image.shape[1:] == tuple(shape):
        return image.astype(np.float32, copy=False)
    thick = max(spacing_mm) / min(spacing_mm) > ANISOTROPIC
    orders = [0 if thick and s == max(spacing_mm) else 3 for s in spacing_mm]
    return np.stack([_zoom(channel.astype(np.float32, copy=False), shape, orders) for channel in image])


def resample_scalar(volume: NDArray, shape: Sequence[int]) -> NDArray[np.float32]:
    """A (X, Y, Z) class map on a grid of `shape`, linearly."""
    if volume.shape == tuple(shape):
        return volume.astype(np.float32, copy=False)
    return _zoom(volume.astype(np.float32, copy=False), shape, [1, 1, 1])


def resample_labels(label: NDArray, shape: Sequence[int]) -> NDArray[np.uint8]:
    """A (X, Y, Z) label map on a grid of `shape`: each value as a linear map of its own, the largest wins."""
    if label.shape == tuple(shape):
        return label.astype(np.uint8, copy=False)
    best = np.full(tuple(shape), -1.0, dtype=np.float32)
    result = np.zeros(tuple(shape), dtype=np.uint8)
    for value in np.unique(label):
        share = resample_scalar(label == value, shape)
        wins = share > best
        best[wins], result[wins] = share[wins], value
    return result


def _zoom(volume: NDArray[np.float32], shape: Sequence[int], orders: Sequence[int]) -> NDArray[np.float32]:
    from scipy.ndimage import zoom

    for order in sorted(set(orders)):  # one call per order; axes of another order keep their length meanwhile
        target = [n if o == order else v for n, o, v in zip(shape, orders, volume.shape, strict=True)]
        if tuple(target) != volume.shape:
            factors = [t / v for t, v in zip(target, volume.shape, strict=True)]
            volume = zoom(volume, factors, order=order, mode="nearest", grid_mode=True, output=np.float32)
    return volume
