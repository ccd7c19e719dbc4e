"""The area of the surface inside each 2x2x2 neighbourhood of voxels: a marching-cubes table derived from six shapes.

Each corner of a cell is a voxel's centre, inside or outside the mask: 8 bits, 256 codes. The surface crosses the
cell's edges half way. Corners joined by cell edges form one piece of surface; where more than four corners are
inside, the surface is that of the outside ones. Up to rotation and mirroring that leaves six pieces, below.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from decaseg.geometry import Float3, float3

Corner = tuple[int, int, int]

CORNERS: tuple[Corner, ...] = tuple((x, y, z) for x, y, z in product((0, 1), repeat=3))
BITS = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)  # corner (x, y, z) is bit 4x + 2y + z of a cell's code

_TRIANGLE = ((1 / 8, 1 / 8, 1 / 8),)  # one corner cut off: sides of sqrt(1/2) voxel, area sqrt(3) / 8
_ROOF = ((0.0, 1 / 4, 1 / 4),) * 2  # an edge along axis 0: a rectangle 1 by sqrt(1/2), in two triangles
_L = ((1 / 2, 0.0, 0.0), (1 / 4, 1 / 4, 1 / 4), (1 / 8, 1 / 8, 1 / 8))  # three corners in a plane across axis 0
_WALL = ((1 / 2, 0.0, 0.0),) * 2  # the four corners of a face across axis 0: a square of area 1
_HEXAGON = ((3 / 4, 3 / 4, 3 / 4),)  # a corner and its three neighbours: a flat hexagon, six times _TRIANGLE
_TWIST = ((1 / 2, 1 / 2, 1 / 2), (1 / 4, 1 / 4, 0.0), (1 / 4, 0.0, 1 / 4))  # a path whose middle edge is along axis 0


def element_codes(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The code of each cell between voxel centres, for a (X, Y, Z) mask: shape (X + 1, Y + 1, Z + 1).

    Outside the array counts as outside the mask, so a mask that touches the border is closed there.
    """
    padded: NDArray[np.uint8] = np.pad(mask.astype(np.uint8), 1)
    for axis in (2, 1, 0):  # bits of z, then y, then x: shifts of 1, 2 and 4
        low = tuple(slice(0, -1) if i == axis else slice(None) for i in range(3))
        high = tuple(slice(1, None) if i == axis else slice(None) for i in range(3))
        padded = padded[low] | (padded[high] << np.uint8(1 << (2 - axis)))
    return padded


def area_table_mm2(spacing_mm: Sequence[float]) -> NDArray[np.float64]:
    """Surface area in mm² of each of the 256 codes, for voxels of `spacing_mm` (X, Y, Z).

    Equal to DeepMind's `create_table_neighbour_code_to_surface_area` (Nikolov et al. 2018, arXiv 1809.04430), up to
    the order of the bits; that is tested for all codes. Voxels far from cubic keep exact areas, because the normals
    are scaled by the areas of the voxel's faces before their length is taken.

    >>> float(area_table_mm2((1.0, 1.0, 1.0))[0b00001111]), float(area_table_mm2((3.0, 2.0, 1.0))[0b00001111])
    (1.0, 2.0)
    """
    return _area_table(float3(spacing_mm))


@lru_cache(maxsize=64)
def _area_table(spacing_mm: Float3) -> NDArray[np.float64]:
    x, y, z = spacing_mm
    faces_mm2 = np.array([y * z, x * z, x * y])
    table = np.zeros(256)
    for code in range(256):
        table[code] = sum(float(np.linalg.norm(np.array(n) * faces_mm2)) for n in _normals(code))
    table.setflags(write=False)
    return table


@lru_cache(maxsize=256)
def _normals(code: int) -> tuple[Float3, ...]:
    """The normals of a code's triangles, in voxels, their length the area; signs dropped, for areas need none."""
    inside = {c for c in CORNERS if code >> int(BITS[c]) & 1}
    minority = inside if len(inside) <= 4 else set(CORNERS) - inside
    normals: list[Float3] = []
    while minority:
        piece = _connected(minority)
        minority = minority - piece
        normals += _piece_normals(piece)
    return tuple(normals)


def _connected(corners: set[Corner]) -> set[Corner]:
    piece, frontier = set(), {min(corners)}
    while frontier:
        piece |= frontier
        frontier = {c for c in corners - piece for p in frontier if _axis(c, p) is not None}
    return piece


def _axis(a: Corner, b: Corner) -> int | None:
    """The axis of the edge between two corners, None when they share no edge."""
    differ = [i for i in range(3) if a[i] != b[i]]
    return differ[0] if len(differ) == 1 else None


def _piece_normals(piece: set[Corner]) -> list[Float3]:
    corners = sorted(piece)
    edges = [(a, b) for i, a in enumerate(corners) for b in corners[i + 1 :] if _axis(a, b) is not None]
    axes = [_axis(a, b) for a, b in edges]
    degree = {c: sum(c in edge for edge in edges) for c in corners}
    across = next((i for i in range(3) if i not in axes), 0)  # the axis that no edge runs along
    if len(corners) == 1:
        return _turned(_TRIANGLE, 0)
    if len(corners) == 2:
        return _turned(_ROOF, axes[0] or 0)
    if len(corners) == 3:
        return _turned(_L, across)
    if len(edges) == 4:
        return _turned(_WALL, across)
    if max(degree.values()) == 3:
        return _turned(_HEXAGON, 0)
    middle = next(_axis(a, b) for a, b in edges if degree[a] == degree[b] == 2)
    return _turned(_TWIST, middle or 0)


def _turned(normals: tuple[Float3, ...], axis: int) -> list[Float3]:
    """The normals with their axis 0 laid along `axis`, the two others kept in order."""
    order = {0: [0, 1, 2], 1: [1, 0, 2], 2: [1, 2, 0]}[axis]
    return [float3(n[i] for i in order) for n in normals]
