"""Looks up an image between its voxels: linearly for intensities, nearest for labels, 0 outside."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from decaseg.data.augment.elastic import smooth_shifts
from decaseg.geometry import Int3

# Voxels worked on at a time: their arrays fit a core's cache, and so does the part of the source they come from, if
# they are a block. A slab of as many voxels, once turned, runs through far more of the source's memory, which took a
# fifth more time (benchmarks/augmentation/).
BLOCK_VOXELS = 2**17
BLOCK_ROWS = 32
INSIDE = 0.01  # voxels between a place and the source's edge at least, for no rounding to bring it beyond

Block = tuple[slice, slice]  # planes of the patch's first axis, and rows of its second; the third is never cut


@dataclass(frozen=True)
class Places:
    """Where n voxels of a patch lie in a source, in its voxels: `along` holds (n,) tensors for the axes x, y, z.

    With `all_inside` none lies on the source's edge or beyond.
    """

    along: tuple[Tensor, Tensor, Tensor]
    source: Int3
    all_inside: bool


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
        planes, rows, depth = self.patch
        if planes * rows * depth <= BLOCK_VOXELS:
            return [(slice(0, planes), slice(0, rows))]
        thick = max(1, BLOCK_VOXELS // (min(rows, BLOCK_ROWS) * depth))
        return [
            (slice(x, min(x + thick, planes)), slice(y, min(y + BLOCK_ROWS, rows)))
            for x in range(0, planes, thick)
            for y in range(0, rows, BLOCK_ROWS)
        ]

    def at(self, block: Block) -> Places:
        """Where the voxels of a block lie in the source."""
        x, y, z = self.tables
        planes, rows = block
        along = [x[a, planes, None, None] + (y[a, rows, None] + z[a]) for a in range(3)]
        if self.lattice is not None:
            shifts = smooth_shifts(self.lattice[None], self.patch, block)[0]
            bend = torch.einsum("ij,jxyz->ixyz", self.matrix, shifts)
            along = [place.add_(bend[a]) for a, place in enumerate(along)]
        flat = (along[0].flatten(), along[1].flatten(), along[2].flatten())
        return Places(flat, self.source, self._inside(block))

    def _inside(self, block: Block) -> bool:
        """Whether all of a block lies inside the source; its places are furthest out at its corners."""
        cuts = (*block, slice(0, self.patch[2]))
        for a, n in enumerate(self.source):
            pairs = [(self.ends[b][a][cut.start], self.ends[b][a][cut.stop - 1]) for b, cut in enumerate(cuts)]
            least, most = sum(min(pair) for pair in pairs), sum(max(pair) for pair in pairs)
            if least - self.reach[a] < INSIDE or most + self.reach[a] > n - 1 - INSIDE:
                return False
        return True


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


def look_up_linear(image: Tensor, where: Places, out: Tensor) -> None:
    """Trilinear values of an image (C, *source) with zeros round it, into `out` (C, *block)."""
    lows, fractions = [], []
    for place, n in zip(where.along, where.source, strict=True):
        held = place if where.all_inside else place.clamp(0, n - 1)
        low = held.floor()
        if not where.all_inside:
            low.clamp_(max=max(n - 2, 0))
        lows.append(low)
        fractions.append(held - low)
    index = _index(lows, where.source)
    covered = None if where.all_inside else _covered(where)
    _, y, z = where.source
    steps = [step if n > 1 else 0 for step, n in zip((y * z, z, 1), where.source, strict=True)]
    offsets = [sum(corner) for corner in itertools.product(*((0, step) for step in steps))]
    corners = [torch.empty_like(fractions[0]) for _ in offsets]
    for channel, target in zip(image, out, strict=True):
        flat = channel.reshape(-1)
        for corner, offset in zip(corners, offsets, strict=True):
            torch.index_select(flat[offset:], 0, index, out=corner)
        for axis, apart in ((2, 1), (1, 2), (0, 4)):  # along edges that run in z, then in y, then in x
            for low, high in zip(corners[:: 2 * apart], corners[apart :: 2 * apart], strict=True):
                low.lerp_(high, fractions[axis])
        value = corners[0] if covered is None else corners[0].mul_(covered)
        target.copy_(value.view(target.shape))


def look_up_nearest(label: Tensor, where: Places, out: Tensor) -> None:
    """Values of a label map (*source) at the nearest voxel, 0 outside, into `out` (*block)."""
    nearest = [(place + 0.5).floor_() for place in where.along]
    if where.all_inside:
        value = label.reshape(-1).index_select(0, _index(nearest, where.source))
    else:
        held = [voxel.clamp(0, n - 1) for voxel, n in zip(nearest, where.source, strict=True)]
        value = label.reshape(-1).index_select(0, _index(held, where.source))
        for voxel, inside in zip(nearest, held, strict=True):
            value *= voxel == inside
    out.copy_(value.view(out.shape))


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


def _index(voxels: list[Tensor], source: Int3) -> Tensor:
    """Where voxels (x, y, z), whole numbers held as floats, stand in a contiguous source."""
    x, y, z = (voxel.int() for voxel in voxels)
    return x.mul_(source[1]).add_(y).mul_(source[2]).add_(z)


def _covered(where: Places) -> Tensor:
    """How much of each place the source's edge voxels still reach: 1 inside, falling to 0 one voxel outside.

    Along an axis, linear interpolation between an edge voxel and a zero beyond it is that voxel times this.
    """
    covered = torch.ones_like(where.along[0])
    for place, n in zip(where.along, where.source, strict=True):
        covered *= (place - place.clamp(0, n - 1)).abs_().neg_().add_(1).clamp_(min=0)
    return covered
