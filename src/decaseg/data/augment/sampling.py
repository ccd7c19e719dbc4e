"""Looks up an image between its voxels: linearly for intensities, nearest for labels, 0 outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from math import floor, prod

import torch
from torch import Tensor
from torch.nn import functional

from decaseg.data.augment.elastic import smooth_shifts
from decaseg.geometry import Int3, int3

# Voxels of a patch worked on at a time, if it has more: as few as keep their arrays, and the part of the source that
# they come from, near the core, and as many as keep Python out of the way (benchmarks/augmentation/).
BLOCK: Int3 = (44, 44, 64)
SLACK = 0.01  # voxels by which a box reaches beyond the places in it, for no rounding to bring one out of it

Block = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Places:
    """Where n voxels of a patch lie in a box of its source: `along` holds (n,) tensors for x, y, z, in its voxels.

    The box has two voxels or more along each axis and begins at voxel `first` of the source, at -1 where it holds a
    voxel of zeros in front of the source; behind it there may be one too. No place is outside the box.
    """

    along: tuple[Tensor, Tensor, Tensor]
    first: Int3
    shape: Int3

    def cut(self, volume: Tensor) -> Tensor:
        """The box out of (..., *source): (..., *shape), contiguous."""
        ends = zip(self.first, self.shape, volume.shape[-3:], strict=True)
        x, y, z = (slice(max(first, 0), min(first + n, whole)) for first, n, whole in ends)
        part = volume[..., x, y, z]
        if part.shape[-3:] == self.shape:
            return part.contiguous()
        box = volume.new_zeros((*volume.shape[:-3], *self.shape))
        ahead = (int(first < 0) for first in self.first)
        x, y, z = (slice(a, a + n) for a, n in zip(ahead, part.shape[-3:], strict=True))
        box[..., x, y, z] = part
        return box


@dataclass(frozen=True)
class Turn:
    """One sample's map from a patch into its source: place = matrix @ (offset from the patch's centre + bend) + centre.

    `tables` are the three terms of that sum without the bend, (3, patch[a]) for the axes x, y, z; `matrix` (3, 3) and
    `lattice` (3, *points) or None make the bend, which moves places by up to `reach` voxels (3,). `ends` are the tables
    on the processor, as [axis of the patch][axis of the source][voxel].
    """

    tables: tuple[Tensor, Tensor, Tensor]
    ends: list[list[list[float]]]
    reach: list[float]
    matrix: Tensor
    lattice: Tensor | None
    source: Int3
    patch: Int3

    def blocks(self) -> list[Block]:
        """Parts of the patch to work on at a time; a small patch is one."""
        if prod(self.patch) <= prod(BLOCK):
            return [(slice(0, self.patch[0]), slice(0, self.patch[1]), slice(0, self.patch[2]))]
        planes, rows, depth = (_parts(n, most) for n, most in zip(self.patch, BLOCK, strict=True))
        return list(product(planes, rows, depth))

    def at(self, block: Block) -> Places:
        """Where the voxels of a block lie in the source."""
        spans = [self._span(block, axis) for axis in range(3)]
        cuts = [_around(*span, n) for span, n in zip(spans, self.source, strict=True)]
        along = self._along(block, [cut.start for cut in cuts])
        for place, (least, most), cut in zip(along, spans, cuts, strict=True):
            if least < cut.start or most > cut.stop - 1:  # further out than the zeros: no different there
                place.clamp_(0, cut.stop - 1 - cut.start)
        first, shape = int3(cut.start for cut in cuts), int3(cut.stop - cut.start for cut in cuts)
        return Places((along[0].flatten(), along[1].flatten(), along[2].flatten()), first, shape)

    def _along(self, block: Block, first: list[int]) -> list[Tensor]:
        """Places of a block's voxels along x, y and z, each of the block's shape, counted from voxel `first`."""
        planes, rows, depth = block
        x, y, z = self.tables
        along = [(x[a, planes, None, None] - first[a]) + (y[a, rows, None] + z[a, depth]) for a in range(3)]
        if self.lattice is not None:
            shifts = smooth_shifts(self.lattice[None], self.patch, block)[0]
            bend = torch.einsum("ij,jxyz->ixyz", self.matrix, shifts)
            along = [place.add_(bend[a]) for a, place in enumerate(along)]
        return along

    def _span(self, block: Block, axis: int) -> tuple[float, float]:
        """Bounds of a block's places along an axis of the source; they are furthest out at the block's corners."""
        pairs = [(self.ends[b][axis][cut.start], self.ends[b][axis][cut.stop - 1]) for b, cut in enumerate(block)]
        beyond = self.reach[axis] + SLACK
        return sum(min(pair) for pair in pairs) - beyond, sum(max(pair) for pair in pairs) + beyond


def turn(matrix: Tensor, lattice: Tensor | None, source: Int3, patch: Int3, like: Tensor) -> Turn:
    """`matrix` (3, 3) and `lattice` (3, *points) are one sample's draw, on the CPU; `like` lends device and dtype."""
    tables = [matrix[:, a, None] * (torch.arange(n) - (n - 1) / 2) for a, n in enumerate(patch)]
    tables[0] = tables[0] + torch.tensor(centre_of(source, patch))[:, None]
    reach = torch.zeros(3)
    if lattice is not None:
        bend = lattice.abs().amax((1, 2, 3)) * torch.tensor([n / (lattice.shape[-1] - 3) for n in patch])
        reach = matrix.abs() @ bend
    x, y, z = (table.to(like) for table in tables)
    bent = None if lattice is None else lattice.to(like)
    ends = [table.tolist() for table in tables]
    return Turn((x, y, z), ends, reach.tolist(), matrix.to(like), bent, source, patch)


def centre_of(source: Int3, patch: Int3) -> list[float]:
    """The source's centre, or half a voxel before it where shapes differ by an odd number: voxels stay on voxels."""
    return [(p - 1) / 2 + (s - p) // 2 for s, p in zip(source, patch, strict=True)]


def look_up_linear(box: Tensor, where: Places, out: Tensor) -> None:
    """Trilinear values of a box (C, *shape) at its places, into `out` (C, *block).

    torch interpolates in planes with the processor's vector instructions and in volumes voxel by voxel, so the box is
    taken as one tall plane, its planes below each other: place (x, y, z) is at row floor(x) * rows + y and column z,
    and once more a plane further down for the part of x behind the point. In float32 such a row is off by less than a
    thousandth of a voxel while there are no more than some 8,000 of them; a block of BLOCK has some 4,000.
    """
    planes, rows, columns = where.shape
    x, y, z = where.along
    low = x.floor().clamp_(max=planes - 2)
    height = (planes - 1) * rows
    grid = x.new_empty((2, len(x)))
    torch.mul(z, 2 / (columns - 1), out=grid[0])
    torch.add(y, low, alpha=rows, out=grid[1]).mul_(2 / (height - 1))
    grid = grid.sub_(1).T[None, None]
    tall = box.reshape(1, len(box), planes * rows, columns)
    near, far = (
        functional.grid_sample(part, grid, mode="bilinear", padding_mode="border", align_corners=True)[0, :, 0]
        for part in (tall[:, :, :height], tall[:, :, rows:])
    )
    torch.lerp(near.view(out.shape), far.view(out.shape), (x - low).view(out.shape[1:]), out=out)


def look_up_nearest(box: Tensor, where: Places, out: Tensor) -> None:
    """Values of a box of a label map (*shape) at the voxels nearest to its places, into `out` (*block)."""
    x, y, z = ((place + 0.5).int() for place in where.along)
    index = x.mul_(where.shape[1]).add_(y).mul_(where.shape[2]).add_(z)
    out.copy_(box.reshape(-1).index_select(0, index).view(out.shape))


def look_up_smooth(label: Tensor, linear: Callable[[Tensor, Tensor], None], out: Tensor) -> None:
    """The label that holds most of each place when every label's mask is interpolated linearly, into `out` (*block).

    `linear` interpolates images (C, *source) into (C, *block).

    Contours turn without the steps of the nearest voxel; a place that belongs to no label by half is background
    unless one label holds more of it than background does.
    """
    values = [int(v) for v in label.unique() if v]
    if not values:
        out.zero_()
        return
    masks = torch.stack([label == v for v in values]).float()
    held = masks.new_empty((len(values), *out.shape))
    linear(masks, held)
    most, which = held.max(dim=0)
    table = torch.tensor(values, dtype=label.dtype, device=label.device)
    out.copy_(torch.where(most > 1 - held.sum(dim=0), table[which], 0))


def _parts(voxels: int, most: int) -> list[slice]:
    """Of about equal length, none longer than `most`."""
    parts = -(-voxels // most)
    return [slice(voxels * i // parts, voxels * (i + 1) // parts) for i in range(parts)]


def _around(least: float, most: float, voxels: int) -> slice:
    """The voxels, two or more, between which places from `least` to `most` lie, of those from -1 to `voxels`."""
    start = min(max(floor(least), -1), voxels - 1)
    return slice(start, min(max(floor(most) + 2, start + 2), voxels + 1))
