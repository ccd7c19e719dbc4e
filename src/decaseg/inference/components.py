"""Connected components of a mask in numpy alone, so that predicting needs no scipy (docs/decisions/0008).

A mask is taken as runs: stretches of true voxels along its last axis. There are many times fewer of them than voxels,
and which runs touch is found for all at once by binary search. `scipy.ndimage` is what the tests compare with.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decaseg.geometry import Int3, int3

Mask = NDArray[np.bool_]
# Lines beside a line, of those that come after it: by 26 neighbours a voxel's, by 6.
BESIDE = {26: ((0, 1), (1, -1), (1, 0), (1, 1)), 6: ((0, 1), (1, 0))}


@dataclass(frozen=True)
class Components:
    """Runs of a mask of `shape`: run i fills `line[i]` (x * Y + y) from `start[i]` to before `stop[i]` along z.

    `component[i]` is 0 … `count` - 1, numbered by their first runs.
    """

    shape: Int3
    line: NDArray[np.intp]
    start: NDArray[np.intp]
    stop: NDArray[np.intp]
    component: NDArray[np.intp]
    count: int

    @property
    def voxels(self) -> NDArray[np.intp]:
        """How many voxels each component has."""
        return np.bincount(self.component, self.stop - self.start, self.count).astype(np.intp)

    @property
    def at_border(self) -> Mask:
        """Whether each component reaches one of the six faces."""
        (nx, ny, nz), (x, y) = self.shape, np.divmod(self.line, self.shape[1])
        run = (x == 0) | (x == nx - 1) | (y == 0) | (y == ny - 1) | (self.start == 0) | (self.stop == nz)
        return np.bincount(self.component, run, self.count) > 0

    def mask(self, stays: Mask) -> Mask:
        """(X, Y, Z): the voxels of the components for which `stays` (count,) is true."""
        nx, ny, nz = self.shape
        kept = stays[self.component]
        steps = np.zeros(nx * ny * nz + 1, np.int8)  # +1 where a run begins, -1 behind its end; runs may touch there
        np.add.at(steps, self.line[kept] * nz + self.start[kept], 1)
        np.add.at(steps, self.line[kept] * nz + self.stop[kept], -1)
        return np.cumsum(steps[:-1], dtype=np.int8).astype(bool).reshape(self.shape)


def components(mask: Mask, neighbours: int = 26) -> Components:
    """The components of a (X, Y, Z) mask whose voxels hang together by 6 or 26 neighbours."""
    nx, ny, nz = shape = int3(mask.shape)
    edges = np.zeros((nx * ny, nz + 1), np.int8)
    edges[:, :nz] = mask.reshape(nx * ny, nz)
    edges[:, 1:] -= edges[:, :-1].copy()
    line, start = np.nonzero(edges == 1)
    stop = np.nonzero(edges == -1)[1]
    one, other = _touching(line, start, stop, ny, nz, neighbours)
    component, count = _joined(len(line), one, other)
    return Components(shape, line, start, stop, component, count)


def fill_holes(mask: Mask) -> Mask:
    """The (X, Y, Z) mask with all that no way along the axes leads out of."""
    outside = components(~mask, neighbours=6)
    return mask | outside.mask(~outside.at_border)


def _touching(
    line: NDArray[np.intp], start: NDArray[np.intp], stop: NDArray[np.intp], ny: int, nz: int, neighbours: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of runs in lines beside each other that touch."""
    # All lines in a row, two apart, so that the end of one does not touch the beginning of the next.
    begins, ends = line * (nz + 2) + start, line * (nz + 2) + stop
    corners = neighbours == 26  # these touch too
    ones, others = [], []
    for dx, dy in BESIDE[neighbours]:
        y = line % ny + dy
        run = np.nonzero((y >= 0) & (y < ny))[0]
        far = (dx * ny + dy) * (nz + 2)
        first = np.searchsorted(ends, begins[run] + far, "left" if corners else "right")
        behind = np.searchsorted(begins, ends[run] + far, "right" if corners else "left")
        many = np.maximum(behind - first, 0)
        ones.append(np.repeat(run, many))
        within = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
        others.append(np.repeat(first, many) + within)
    return np.concatenate(ones), np.concatenate(others)


def _joined(count: int, one: NDArray[np.intp], other: NDArray[np.intp]) -> tuple[NDArray[np.intp], int]:
    """The component of each of `count` nodes, and how many there are: each root hooks on to its least neighbour's.

    Of two neighbouring roots one is gone after two rounds at the latest, so the rounds are as the logarithm of `count`
    (Shiloach and Vishkin 1982).
    """
    root = np.arange(count)
    while len(one):
        a, b = root[one], root[other]
        apart = a != b
        one, other, a, b = one[apart], other[apart], a[apart], b[apart]
        np.minimum.at(root, np.maximum(a, b), np.minimum(a, b))
        while not np.array_equal(above := root[root], root):
            root = above
    roots, component = np.unique(root, return_inverse=True)
    return component, len(roots)
