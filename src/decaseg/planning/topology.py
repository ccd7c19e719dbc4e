"""Patch and pooling from spacing and shape: arithmetic after nnU-Net's published rules (Isensee et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from decaseg.geometry import Float3, Int3, int3

MIN_FEATURES = 4  # no axis is pooled below this many voxels


@dataclass(frozen=True)
class Topology:
    """The patch and, per level, the stride that leads into it and the kernel used there; the first stride is 1."""

    patch: Int3
    strides: tuple[Int3, ...]
    kernels: tuple[Int3, ...]


def plan_topology(patch: Sequence[int], spacing_mm: Sequence[float], max_levels: int) -> Topology:
    """Pools every axis while it can, but thick slices only once the others have caught up with them.

    Worked: patch (40, 56, 40) at 1 mm pools 3, 3 and 3 times to (5, 7, 5). Patch (16, 320, 320) at (3, 0.6, 0.6) mm
    first pools the last two axes, with kernels 1 x 3 x 3 until their spacing is within 2 of the first's.
    The patch is rounded up to a multiple of what is pooled.
    """
    size, spacing = [int(p) for p in patch], [float(s) for s in spacing_mm]
    strides: list[Int3] = [(1, 1, 1)]
    kernels: list[Int3] = [_kernel(spacing)]
    while len(strides) < max_levels:
        poolable = [axis for axis in range(3) if size[axis] >= 2 * MIN_FEATURES]
        if not poolable:
            break
        finest = min(spacing[axis] for axis in poolable)
        pooled = [axis in poolable and spacing[axis] < 2 * finest for axis in range(3)]
        strides.append(int3(2 if p else 1 for p in pooled))
        size = [-(-n // 2) if p else n for n, p in zip(size, pooled, strict=True)]
        spacing = [s * 2 if p else s for s, p in zip(spacing, pooled, strict=True)]
        kernels.append(_kernel(spacing))
    return Topology(round_up(patch, strides), tuple(strides), tuple(kernels))


def round_up(patch: Sequence[int], strides: Sequence[Int3]) -> Int3:
    """The patch with each axis rounded up to a multiple of its total stride.

    >>> round_up((35, 50, 36), [(1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2)])
    (40, 56, 40)
    """
    total = [1, 1, 1]
    for stride in strides:
        total = [t * s for t, s in zip(total, stride, strict=True)]
    return int3(-(-n // t) * t for n, t in zip(patch, total, strict=True))


def plan_patch(shape: Sequence[int], spacing_mm: Float3, voxel_budget: int) -> Int3:
    """The largest patch of at most `voxel_budget` voxels inside `shape`: as near to a cube in mm as that allows.

    Starts from a cube in millimetres and lets each axis end at the volume's own length, giving the rest to the others.
    """
    low, high = 1e-3, float(max(n * s for n, s in zip(shape, spacing_mm, strict=True)))

    def fitted(edge_mm: float) -> Int3:
        return int3(max(1, min(n, round(edge_mm / s))) for n, s in zip(shape, spacing_mm, strict=True))

    for _ in range(60):
        middle = (low + high) / 2
        x, y, z = fitted(middle)
        low, high = (middle, high) if x * y * z <= voxel_budget else (low, middle)
    whole = int3(shape)
    return whole if whole[0] * whole[1] * whole[2] <= voxel_budget else fitted(low)


def _kernel(spacing: Sequence[float]) -> Int3:
    finest = min(spacing)
    return int3(1 if s / finest > 2 else 3 for s in spacing)
