"""Patch and pooling from spacing and shape: arithmetic after nnU-Net's published rules (Isensee et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from decaseg.geometry import Int3, int3

MIN_FEATURES = 4  # no axis is pooled below this many voxels
ALONE = 12  # an axis that would be pooled all by itself needs this many
VALUES_PER_VOXEL = 6.72  # that a U-Net for 128^3 keeps, per voxel of its patch and filter of its finest level


@dataclass(frozen=True)
class Topology:
    """The patch and, per level, the stride that leads into it and the kernel used there; the first stride is 1."""

    patch: Int3
    strides: tuple[Int3, ...]
    kernels: tuple[Int3, ...]

    @property
    def multiple(self) -> Int3:
        """What each axis of the patch is a multiple of."""
        return int3(np.prod(self.strides, axis=0))

    def values(self, filters: Sequence[int], maps: int) -> float:
        """About how many numbers training keeps for one patch: nnU-Net's measure of a plan's size.

        A level keeps what its two convolutions on the way down, its upsampling and its two convolutions on the way up
        give: 5 maps of its filters, the deepest only 2. `maps` are the network's channels and outputs together.

        Worked: 128^3 with 32 to 320 filters, 1 channel, 2 outputs: 2.1 million voxels x (5 x 32 + 3) = 342 million at
        the finest level, 84 at the next, then 21, 5, 1 and nearly nothing: 453 million in all.
        """
        voxels, total = float(np.prod(self.patch)), 0.0
        for level, (stride, width) in enumerate(zip(self.strides, filters, strict=True)):
            voxels /= stride[0] * stride[1] * stride[2]
            total += voxels * width * (2 if 0 < level == len(filters) - 1 else 5)
        return total + float(np.prod(self.patch)) * maps


def plan_topology(patch: Sequence[int], spacing_mm: Sequence[float], max_levels: int) -> Topology:
    """Halves every axis while it can, but thick slices only once the others have come near them.

    An axis is halved into the next level if it has 8 voxels or more and its spacing is less than twice the finest of
    those that have; an axis left alone must have 12. A kernel is 1 voxel long on an axis until that axis's spacing is
    less than twice the finest, then 3; the deepest level always has 3 x 3 x 3.

    Worked: patch (40, 56, 40) at 1 mm is halved 3 times to (5, 7, 5). Patch (256, 320, 20) at (0.625, 0.625, 3.6) mm is
    halved twice in the plane with kernels 3 x 3 x 1, which makes pixels of 2.5 mm; then twice along all axes, down to
    5 slices; then twice more in the plane, to (4, 5, 5). The patch is rounded up to a multiple of what is halved.
    """
    size, spacing = [int(p) for p in patch], [float(s) for s in spacing_mm]
    strides: list[Int3] = [(1, 1, 1)]
    while True:
        large = [axis for axis in range(3) if size[axis] >= 2 * MIN_FEATURES]
        halved = [axis for axis in large if spacing[axis] < 2 * min(spacing[a] for a in large)]
        if len(strides) == max_levels or not halved or (len(halved) == 1 and size[halved[0]] < ALONE):
            break
        strides.append(int3(2 if axis in halved else 1 for axis in range(3)))
        size = [-(-n // s) for n, s in zip(size, strides[-1], strict=True)]
        spacing = [mm * s for mm, s in zip(spacing, strides[-1], strict=True)]
    return Topology(round_up(patch, strides), tuple(strides), kernels_for(strides, spacing_mm))


def kernels_for(strides: Sequence[Int3], spacing_mm: Sequence[float]) -> tuple[Int3, ...]:
    """A kernel a level: 1 long on an axis until its spacing is less than twice the finest, then 3; 3 at the deepest."""
    spacing, kernel = [float(s) for s in spacing_mm], [1, 1, 1]
    kernels: list[Int3] = []
    for stride in strides:
        spacing = [mm * s for mm, s in zip(spacing, stride, strict=True)]
        kernel = [3 if k == 3 or s < 2 * min(spacing) else 1 for k, s in zip(kernel, spacing, strict=True)]
        kernels.append(int3(kernel))
    return (*kernels[:-1], (3, 3, 3) if len(strides) > 1 else kernels[-1])


def strides_for(poolings: Int3, spacing_mm: Sequence[float]) -> tuple[Int3, ...]:
    """Strides that halve each axis so often, the ones with coarse spacing once the others have come near them.

    >>> strides_for((3, 3, 1), (0.8, 0.8, 2.5))
    ((1, 1, 1), (2, 2, 1), (2, 2, 2), (2, 2, 1))
    """
    left, spacing = list(poolings), [float(s) for s in spacing_mm]
    strides: list[Int3] = [(1, 1, 1)]
    while any(left):
        finest = min(mm for mm, n in zip(spacing, left, strict=True) if n)
        strides.append(int3(2 if n and mm < 2 * finest else 1 for mm, n in zip(spacing, left, strict=True)))
        left = [n - (s == 2) for n, s in zip(left, strides[-1], strict=True)]
        spacing = [mm * s for mm, s in zip(spacing, strides[-1], strict=True)]
    return tuple(strides)


def round_up(patch: Sequence[int], strides: Sequence[Int3]) -> Int3:
    """The patch with each axis rounded up to a multiple of its total stride.

    >>> round_up((35, 50, 36), [(1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2)])
    (40, 56, 40)
    """
    total = np.prod(strides, axis=0)
    return int3(-(-n // t) * t for n, t in zip(patch, total, strict=True))


Planner = Callable[[Sequence[int]], Topology]  # from a patch to the topology of that patch or a little larger


def shrink_to_fit(shape: Sequence[int], plan: Planner, fits: Callable[[Topology], bool]) -> Topology:
    """The topology of the whole `shape`, or of the patch to which it must shrink to fit.

    Again and again the axis that covers most of the volume loses one step of what it must be a multiple of, so the
    patch takes the volume's proportions in voxels; then the topology is planned anew. Stops at the smallest patch
    that can be pooled even if that does not fit.

    Worked: (319, 320, 20) is rounded up to (320, 320, 20). The first axis covers 320 / 319 of the volume, the most, so
    it loses 64: (256, 320, 20), which fits nnU-Net's budget.
    """
    found = plan(shape)
    while not fits(found):
        smaller = _one_step_smaller(found, shape, plan)
        if smaller is None:
            break
        found = smaller
    return found


def _one_step_smaller(now: Topology, shape: Sequence[int], plan: Planner) -> Topology | None:
    cover = [n / whole for n, whole in zip(now.patch, shape, strict=True)]
    for axis in sorted(range(3), key=lambda a: -cover[a]):  # of equals the first
        if now.patch[axis] - now.multiple[axis] < MIN_FEATURES:
            continue
        tried = _shortened(now.patch, axis, now.multiple[axis])
        step = plan(tried).multiple[axis]  # a shorter axis may be pooled less
        return plan(_shortened(now.patch, axis, step))
    return None


def _shortened(patch: Int3, axis: int, step: int) -> Int3:
    return int3(n - step if a == axis else n for a, n in enumerate(patch))
