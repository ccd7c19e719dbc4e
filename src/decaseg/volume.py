"""An image with its place in the patient: `Volume(array, grid)`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from decaseg.geometry import Float3, Int3, float3, int3
from decaseg.showing import ShowsItself

IDENTITY = np.eye(4)


@dataclass(frozen=True, eq=False)
class Grid:
    """Where a volume's voxels lie, as its file says, so that what is written back says the same.

    `affine` is 4x4 and maps voxel indices (x, y, z) to millimetres in RAS+ space, whatever unit the file used.
    Everything below it is the file's own, in the file's own unit, kept only to be written back unchanged: the forms
    with their codes, `xyzt_units`, the three voxel sizes `pixdim`, and `quaternion` (qfac, quatern_b, _c, _d,
    qoffset_x, _y, _z). A grid that is made here leaves them out. ValueError for an affine that is not 4x4, finite and
    invertible.
    """

    shape: Int3
    affine: NDArray[np.float64]
    sform: NDArray[np.float64] | None = None
    sform_code: int = 2
    qform: NDArray[np.float64] | None = None
    qform_code: int = 1
    xyzt_units: int = 2
    pixdim: tuple[float, ...] = ()
    quaternion: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.affine.shape != (4, 4) or not np.isfinite(self.affine).all() or not np.linalg.det(self.affine[:3, :3]):
            raise ValueError(f"affine {self.affine.tolist()}: must be 4x4, finite and invertible")

    def with_affine(self, affine: NDArray[np.float64]) -> Grid:
        """The same grid with another affine in millimetres; the file's own forms are kept beside it."""
        return replace(self, affine=affine)

    def distance_mm(self, other: NDArray[np.float64]) -> float:
        """How far apart, at most, this grid and another affine put the same voxel, in millimetres.

        Affines are linear, so the farthest voxel is one of the eight corners.
        """
        ends = [(0, n - 1) for n in self.shape]
        corners = np.array([(x, y, z, 1) for x in ends[0] for y in ends[1] for z in ends[2]], dtype=np.float64)
        return float(np.linalg.norm((corners @ (self.affine - other).T)[:, :3], axis=1).max())

    @property
    def spacing_mm(self) -> Float3:
        """Length of one voxel step along each array axis, in millimetres."""
        return float3(np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0)))

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    @property
    def shear(self) -> float:
        """The largest cosine between two voxel axes: 0 for a grid of boxes, however oblique."""
        axes = self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(np.abs(axes.T @ axes - np.eye(3)).max())

    @property
    def orientation(self) -> str:
        """The anatomical direction each array axis points to, for example `RAS`."""
        return "".join(("LR", "PA", "IS")[axis][sign > 0] for axis, sign in self.axes)

    @property
    def axes(self) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        """For each array axis: the world axis (0 right, 1 anterior, 2 superior) nearest to it, and +1 or -1.

        Each world axis is given away once, the clearest first, so that oblique scans get a proper permutation. Exactly
        diagonal axes are told apart by where they point, not by their order in the file, so that the same scan, stored
        otherwise, gets the same anatomical directions.
        """
        cosines = self.affine[:3, :3] / np.maximum(np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0)), 1e-12)
        free = np.abs(cosines).round(4) + 1e-5 * _ranks(cosines)
        found: list[tuple[int, int]] = [(0, 1)] * 3
        for _ in range(3):
            world, axis = np.unravel_index(np.argmax(free), free.shape)
            found[int(axis)] = int(world), 1 if cosines[world, axis] >= 0 else -1
            free[world, :] = -1
            free[:, axis] = -1
        return found[0], found[1], found[2]


def _ranks(directions: NDArray[np.float64]) -> NDArray[np.intp]:
    """0, 1 and 2 for the three columns, by where they point, whichever way and in whatever order they stand."""
    lines = [tuple(column.round(3) + 0.0) for column in directions.T]
    lines = [max(line, tuple(0.0 - c for c in line)) for line in lines]
    return np.array([sorted(lines).index(line) for line in lines])


@dataclass(frozen=True, eq=False)
class Volume(ShowsItself):
    """A (C, X, Y, Z) array and the grid it lies on. Label maps have C = 1. Notebooks show it as a picture."""

    array: NDArray
    grid: Grid

    def __post_init__(self) -> None:
        if self.array.ndim != 4 or self.array.shape[1:] != self.grid.shape:
            raise ValueError(f"a volume is (C, X, Y, Z) on its grid {self.grid.shape}, not {self.array.shape}")

    @classmethod
    def of(cls, array: NDArray, affine: NDArray | None = None) -> Volume:
        """A volume of a new grid: (X, Y, Z) or (C, X, Y, Z) array and a 4x4 affine in millimetres (default: 1 mm)."""
        if array.ndim not in (3, 4):
            raise ValueError(f"a volume is (X, Y, Z) or (C, X, Y, Z), not {array.shape}")
        array = array[None] if array.ndim == 3 else array
        affine = np.array(IDENTITY if affine is None else affine, dtype=np.float64)
        return cls(array, Grid(int3(array.shape[1:]), affine))

    @property
    def affine(self) -> NDArray[np.float64]:
        """4x4, from voxel indices (x, y, z) to millimetres in RAS+ space."""
        return self.grid.affine

    @property
    def shape(self) -> Int3:
        """The spatial shape (X, Y, Z)."""
        return self.grid.shape

    @property
    def spacing_mm(self) -> Float3:
        """Length of one voxel step along each array axis, in millimetres."""
        return self.grid.spacing_mm

    @property
    def orientation(self) -> str:
        """The anatomical direction each array axis points to, for example `RAS`."""
        return self.grid.orientation

    def with_array(self, array: NDArray) -> Volume:
        """Another array, (X, Y, Z) or (C, X, Y, Z), on the same grid."""
        return replace(self, array=array[None] if array.ndim == 3 else array)
