"""Cuts patches that are mirrored, turned by right angles or scaled, but not turned further: an axis at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from decaseg.data.augment.axiswise import Band, bands, linear_matrix, multiply_first, multiply_others
from decaseg.data.augment.sampling import centre_of
from decaseg.geometry import Int3, int3

COPIED_PLANES = 8  # at a time: 0.5 MiB of 128 x 128 float32 planes stay in a core's cache between flip and copy


@dataclass(frozen=True)
class Stretch:
    """A map that keeps axes apart: the source's axis for each of the patch's, and the source's voxels a step."""

    axes: tuple[int, int, int]
    factors: tuple[float, float, float]

    def only_moves_voxels(self, patch: Int3) -> bool:
        """Whether voxels are reordered alone, none interpolated."""
        lengths = all(patch[a] == n for a, n in zip(self.axes, patch, strict=True))
        return lengths and all(abs(factor) == 1 for factor in self.factors)

    def reorder(self, middle: Tensor, out: Tensor) -> None:
        """Copies (C, *patch) into `out` (C, *patch), axes in their order, some of them running back."""
        backwards = [1 + a for a in range(3) if self.factors[a] < 0]
        turned = middle.permute(0, *(1 + a for a in self.axes))
        n = turned.shape[1]
        for start in range(0, n, COPIED_PLANES):
            end = min(start + COPIED_PLANES, n)
            taken = turned[:, n - end : n - start] if 1 in backwards else turned[:, start:end]
            out[:, start:end] = taken.flip(backwards) if backwards else taken


@dataclass(frozen=True)
class Stretched:
    """A stretch of a source to a patch: `places` (patch[a],) along the source's axis for each of the patch's."""

    axes: tuple[int, int, int]
    places: tuple[Tensor, Tensor, Tensor]
    along: tuple[list[Band], list[Band], list[Band]]

    def linear(self, block: Band, image: Tensor, out: Tensor) -> None:
        """Trilinear values of (C, *source) for `block` of the first axis, 0 outside, into `out` (C, *block)."""
        for channel, target in zip(image.permute(0, *(1 + a for a in self.axes)), out, strict=True):
            slab = channel.new_empty(len(block.weights), *channel.shape[1:])
            multiply_first(block, channel, slab)
            multiply_others(self.along[1], self.along[2], slab, target)

    def nearest(self, label: Tensor, out: Tensor) -> None:
        """Values of (*source) at the nearest voxels, 0 outside, into `out` (*patch)."""
        # One fetch a voxel: index_select along the last axis takes sixteen times as long (benchmarks/augmentation/).
        index, outside = torch.zeros(1, 1, 1, dtype=torch.int32), []
        for number, (axis, place) in enumerate(zip(self.axes, self.places, strict=True)):
            voxel, n = (place + 0.5).floor().int(), label.shape[axis]
            along = [-1 if other == number else 1 for other in range(3)]
            index = index + (voxel.clamp(0, n - 1) * math.prod(label.shape[axis + 1 :])).view(along)
            outside.append(((voxel < 0) | (voxel >= n)).nonzero().flatten())
        out.copy_(label.reshape(-1).index_select(0, index.flatten().to(label.device)).view(out.shape))
        for number, voxels in enumerate(outside):
            if len(voxels):
                out.index_fill_(number, voxels.to(label.device), 0)


def stretch_of(matrix: Tensor) -> Stretch | None:
    """What a matrix (3, 3) with one number a row and column does; None for any other."""
    used = matrix != 0
    if not bool((used.sum(0) == 1).all() and (used.sum(1) == 1).all()):
        return None
    axes = used.int().argmax(0).tolist()
    x, y, z = (float(matrix[axes[a], a]) for a in range(3))
    return Stretch(int3(axes), (x, y, z))


def stretched(what: Stretch, source: Int3, patch: Int3) -> Stretched:
    """Places and matrices for a stretch from the middle of a source to a patch, on the CPU."""
    centre = centre_of(source, patch)
    x, y, z = (
        factor * (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) + centre[a]
        for a, factor, n in zip(what.axes, what.factors, patch, strict=True)
    )
    along = [bands(linear_matrix(place, source[a])) for a, place in zip(what.axes, (x, y, z), strict=True)]
    return Stretched(what.axes, (x, y, z), (along[0], along[1], along[2]))
