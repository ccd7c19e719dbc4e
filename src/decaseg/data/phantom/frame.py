"""The grid that the phantom is drawn on, and noise whose grain is in millimetres, whatever the grid's spacing."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from decaseg.geometry import Int3, int3

Array = NDArray[np.float32]

FIELD_OF_VIEW_MM = (168.0, 204.0, 168.0)  # (left-right, back-front, foot-head): a large brain, stem cut at the medulla
CORNER_MM = (-84.0, -118.0, -78.0)  # the field's left, posterior, inferior corner in MNI152 coordinates
SPLINE_SPREAD = (151 / 315) ** 1.5  # standard deviation of cubic-B-spline noise in 3D over unit white noise


@dataclass(frozen=True)
class Frame:
    """An axis-aligned RAS grid of cubic voxels over the field of view; its corner does not move with the spacing."""

    spacing_mm: float

    @property
    def shape(self) -> Int3:
        return int3(round(length / self.spacing_mm) for length in FIELD_OF_VIEW_MM)

    @property
    def voxel_ml(self) -> float:
        return self.spacing_mm**3 / 1000.0

    @property
    def affine(self) -> NDArray[np.float64]:
        """4x4, voxel indices to millimetres; a voxel's index names its centre."""
        affine = np.diag([self.spacing_mm] * 3 + [1.0])
        affine[:3, 3] = np.asarray(CORNER_MM) + self.spacing_mm / 2
        return affine

    def world_mm(self) -> Array:
        """Coordinates of every voxel centre, (3, X, Y, Z) in millimetres."""
        axes = [
            (np.arange(n, dtype=np.float32) + 0.5) * self.spacing_mm + corner
            for n, corner in zip(self.shape, CORNER_MM, strict=True)
        ]
        return np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)

    def index_of(self, world_mm: Array) -> Array:
        """Fractional voxel indices (3, ...) of world coordinates (3, ...)."""
        origin = self.affine[:3, 3].astype(np.float32).reshape(3, *[1] * (world_mm.ndim - 1))
        return (world_mm - origin) / np.float32(self.spacing_mm)


def smooth_noise(rng: np.random.Generator, frame: Frame, grain_mm: float) -> Array:
    """Gaussian noise of mean 0 and standard deviation 1 with features of about `grain_mm`, (X, Y, Z).

    Cubic B-splines on a lattice of that spacing. The lattice hangs on the field of view, not on the grid, so one
    seed gives one field at every spacing.
    """
    lattice = rng.standard_normal([ceil(length / grain_mm) + 4 for length in FIELD_OF_VIEW_MM], dtype=np.float32)
    for axis in (2, 1, 0):  # the first axis last: its slices lie together in memory
        lattice = _upsampled(lattice, axis, frame.shape[axis], frame.spacing_mm / grain_mm)
    return lattice / np.float32(SPLINE_SPREAD)


def fractal_noise(rng: np.random.Generator, frame: Frame, grain_mm: float, octaves: int = 3) -> Array:
    """Noise of unit standard deviation whose amplitude falls with the grain: `grain_mm`, half of it, a quarter ..."""
    total = np.zeros(frame.shape, np.float32)
    power = 0.0
    for octave in range(octaves):
        weight = 0.6**octave
        total += np.float32(weight) * smooth_noise(rng, frame, grain_mm / 2**octave)
        power += weight**2
    return total / np.float32(np.sqrt(power))


def _upsampled(lattice: Array, axis: int, n: int, step: float) -> Array:
    """Cubic B-spline values at `n` points `step` nodes apart along one axis."""
    position = (np.arange(n) + 0.5) * step
    first = position.astype(np.int64)
    t = position - first
    weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    shape = [1, 1, 1]
    shape[axis] = n
    out = np.zeros((*lattice.shape[:axis], n, *lattice.shape[axis + 1 :]), np.float32)
    for k, weight in enumerate(weights):
        part = np.take(lattice, first + k, axis=axis)
        part *= (weight / 6).astype(np.float32).reshape(shape)
        out += part
    return out
