"""Resampling between grids of other spacing; voxels are boxes, so the edges of both volumes coincide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

MARGIN = 12  # of samples drawn out beyond the edge: a spline feels them by 0.27 to the power of their distance
ANISOTROPIC = 3.0  # nnU-Net's threshold: beyond it, interpolating between slices invents anatomy


def resample_image(image: NDArray, shape: Sequence[int], spacing_mm: Sequence[float]) -> NDArray[np.float32]:
    """A (C, X, Y, Z) image on a grid of `shape`: cubic, but nearest across slices thicker than 3 times the rest.

    `spacing_mm` is the spacing the image has. Same alignment and orders as nnU-Net's default resampling.
    """
    if image.shape[1:] == tuple(shape):
        return image.astype(np.float32, copy=False)
    thick = max(spacing_mm) / min(spacing_mm) > ANISOTROPIC
    orders = [0 if thick and s == max(spacing_mm) else 3 for s in spacing_mm]
    out = np.empty((len(image), *shape), np.float32)
    for channel, result in zip(image, out, strict=True):
        result[:] = _zoom(channel.astype(np.float32, copy=False), shape, orders)
    return out


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
    """`scipy.ndimage.zoom` (edges of both grids coincide), of another order along each axis.

    Splines are separable and linear, so along each axis it is one matrix: many times faster than interpolating point
    by point, and without scipy's copy in float64. The axes that shrink most come first.
    """
    for axis in sorted(range(3), key=lambda a: shape[a] / volume.shape[a]):
        if shape[axis] != volume.shape[axis]:
            volume = _along(volume, _spline_matrix(volume.shape[axis], shape[axis], orders[axis]), axis)
    return volume


def _along(volume: NDArray[np.float32], matrix: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """`matrix` (wanted, length) times every line of the volume along `axis`."""
    x, y, z = volume.shape
    if axis == 0:
        return (matrix @ volume.reshape(x, y * z)).reshape(-1, y, z)
    if axis == 1:
        return np.matmul(matrix, volume)
    return (volume.reshape(x * y, z) @ matrix.T).reshape(x, y, -1)


@lru_cache(maxsize=32)
def _spline_matrix(length: int, wanted: int, order: int) -> NDArray[np.float32]:
    """(wanted, length): what interpolating with splines of order 0, 1 or 3 does to a line; beyond the edge, the edge.

    As scipy's `zoom(..., mode="nearest", grid_mode=True)`, which is not needed for it (docs/decisions/0008).
    """
    centres = (np.arange(wanted) + 0.5) * (length / wanted) - 0.5
    made = np.zeros((wanted, length + 2 * MARGIN))  # on the line with its edges drawn out
    if order == 0:
        made[np.arange(wanted), np.clip(np.floor(centres + 0.5).astype(int), 0, length - 1) + MARGIN] = 1
    elif order == 1:
        place = Places.of(length, wanted)
        np.add.at(made, (np.arange(wanted), place.low + MARGIN), 1 - place.share)
        np.add.at(made, (np.arange(wanted), place.high + MARGIN), place.share)
    else:
        below = np.floor(centres).astype(int)
        for tap in range(-1, 3):
            away = np.abs(centres - below - tap)
            inner, outer = 2 / 3 - away**2 + away**3 / 2, np.maximum(2 - away, 0) ** 3 / 6  # cubic B-spline
            made[np.arange(wanted), below + tap + MARGIN] = np.where(away < 1, inner, outer)
        made[:] = np.linalg.solve(_samples_of_splines(made.shape[1]).T, made.T).T
    folded = made[:, MARGIN : MARGIN + length].copy()
    folded[:, 0] += made[:, :MARGIN].sum(axis=1)
    folded[:, -1] += made[:, MARGIN + length :].sum(axis=1)
    return np.ascontiguousarray(folded, dtype=np.float32)


def _samples_of_splines(length: int) -> NDArray[np.float64]:
    """(length, length): a line's samples from the coefficients of its cubic B-splines, mirrored at the ends."""
    samples = np.diag(np.full(length, 4 / 6)) + np.diag(np.full(length - 1, 1 / 6), 1)
    samples += np.diag(np.full(length - 1, 1 / 6), -1)
    samples[0, 0] += 1 / 6
    samples[-1, -1] += 1 / 6
    return samples


@dataclass(frozen=True)
class Places:
    """Where the voxels of one grid lie on another along an axis: between `low` and `high`, `share` of the way."""

    low: NDArray[np.intp]
    high: NDArray[np.intp]
    share: NDArray[np.float32]

    @classmethod
    def of(cls, length: int, wanted: int) -> Places:
        """`wanted` voxels that cover the same distance as `length` ones; beyond the outermost centres, the edge."""
        centres = np.clip((np.arange(wanted) + 0.5) * (length / wanted) - 0.5, 0, length - 1)
        low = np.minimum(centres.astype(np.intp), max(length - 2, 0))
        return cls(low, np.minimum(low + 1, length - 1), (centres - low).astype(np.float32))

    def part(self, start: int, stop: int, offset: int) -> Places:
        """The voxels from `start` to `stop`, on the other grid's from `offset` on."""
        cut = slice(start, stop)
        return Places(self.low[cut] - offset, self.high[cut] - offset, self.share[cut])

    def __call__(self, array: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
        """Linear interpolation along one axis of an array; the array itself where nothing moves."""
        if array.shape[axis] == len(self.low) and not self.share[:-1].any() and self.share[-1:] in (0, 1):
            return array
        shape = [1] * array.ndim
        shape[axis] = -1
        below, above = np.take(array, self.low, axis), np.take(array, self.high, axis)
        above -= below
        above *= self.share.reshape(shape)
        above += below
        return above
