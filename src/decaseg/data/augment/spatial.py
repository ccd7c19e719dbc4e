"""Rotation, scaling, mirrors, right-angle turns and elastic bending as one map a sample: drawn first, applied once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from decaseg.data.augment.axiswise import Band
from decaseg.data.augment.elastic import draw_elastic
from decaseg.data.augment.sampling import Block, look_up_linear, look_up_nearest, look_up_smooth, turn
from decaseg.data.augment.side_by_side import side_by_side
from decaseg.data.augment.stretching import Stretch, stretch_of, stretched
from decaseg.geometry import Int3, int3


@dataclass(frozen=True)
class Spatial:
    """What may be drawn. Angles in degrees; `scale` is a range of zoom factors; axes are array axes (0, 1, 2).

    `elastic_strength` runs from 0 to 1, where 1 is the most that can never fold; `elastic_cells` lattice steps span
    an axis of the patch. `flat_axis`: where slices are thick, the axis across them; nothing then turns, zooms or bends
    out of a slice (nnU-Net's dummy 2D augmentation).
    """

    rotation_deg: float = 30.0
    rotation_share: float = 0.2
    scale: tuple[float, float] = (0.7, 1.4)
    scale_share: float = 0.2
    mirror_axes: tuple[int, ...] = (0, 1, 2)
    right_angles: bool = False
    elastic_share: float = 0.0
    elastic_strength: float = 1.0
    elastic_cells: int = 3
    smooth_labels: bool = False
    flat_axis: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.elastic_strength <= 1:
            raise ValueError(f"elastic_strength={self.elastic_strength:g}: choose from 0 to 1; beyond 1 space may fold")
        if self.elastic_cells < 1:
            raise ValueError(f"elastic_cells={self.elastic_cells}: must be 1 or more")

    def times(self, strength: float) -> Spatial:
        """The same changes, `strength` (0 to 1) times as often; mirrors and right angles stay as they are."""
        shares = ("rotation_share", "scale_share", "elastic_share")
        return replace(self, **{name: getattr(self, name) * strength for name in shares})

    @property
    def margin(self) -> float:
        """By how much a source must be longer than the patch so that no sample looks past its edge too often."""
        return 1.15 if self.rotation_share or self.scale_share or self.elastic_share else 1.0


@dataclass(frozen=True)
class SpatialDraw:
    """Where each sample of a batch looks: its place in the source, from the centre, is `matrix @ (offset + bend)`.

    `matrices` (B, 3, 3) act on voxel offsets from the patch's centre; `lattice` holds the bends of an elastic lattice
    (see `draw_elastic`), or None where nothing bends.
    """

    matrices: Tensor
    lattice: Tensor | None = None


def draw_spatial(what: Spatial, batch: int, generator: torch.Generator) -> SpatialDraw:
    """Draws one map a sample; the number of draws depends on `what` and `batch` alone."""
    matrices = torch.eye(3).repeat(batch, 1, 1)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(shape, generator=generator) * (high - low) + low

    angles = uniform(-what.rotation_deg, what.rotation_deg, batch, 3) * (math.pi / 180)
    rotated = (uniform(0, 1, batch) < what.rotation_share).float()
    about = [what.flat_axis in (None, axis) for axis in range(3)]  # axes that may be turned about
    for axis in range(3):
        matrices = matrices @ _rotation(angles[:, axis] * rotated * about[axis], axis)
    scaled = uniform(0, 1, batch) < what.scale_share
    factors = torch.where(scaled, uniform(*what.scale, batch), torch.ones(batch))
    if what.flat_axis is None:
        matrices = matrices / factors[:, None, None]
    else:  # about the flat axis only, so rows and columns of the others are scaled alike
        others = [axis for axis in range(3) if axis != what.flat_axis]
        matrices[:, others] = matrices[:, others] / factors[:, None, None]
    for axis in range(3):
        flip = (uniform(0, 1, batch) < 0.5) & (axis in what.mirror_axes)
        matrices[:, :, axis] *= torch.where(flip, -1.0, 1.0)[:, None]
    if what.right_angles:
        for axis in range(3):
            turns = torch.randint(0, 4, (batch,), generator=generator)
            matrices = matrices @ _rotation(turns * about[axis] * (math.pi / 2), axis).round()
    if not what.elastic_share:
        return SpatialDraw(matrices)
    lattice = draw_elastic(what.elastic_share, what.elastic_strength, what.elastic_cells, batch, generator)
    if what.flat_axis is not None:
        lattice[:, what.flat_axis] = 0
    return SpatialDraw(matrices, lattice)


def apply_spatial(
    draw: SpatialDraw, image: Tensor, label: Tensor, patch: Int3, smooth_labels: bool = False
) -> tuple[Tensor, Tensor]:
    """Cuts (B, C, *patch) and (B, *patch) out of the middle of larger (B, C, *source) and (B, *source).

    Images are interpolated linearly, 0 outside; labels by nearest neighbour or smoothly (see `look_up_smooth`), so they
    stay labels. Where a sample is only mirrored or turned by right angles its voxels are copied, none is interpolated.
    """
    moved = image.new_empty((*image.shape[:2], *patch))
    labels = label.new_empty((len(label), *patch))
    turned: list[Piece] = []
    others: list[Piece] = []
    for row, matrix in enumerate(draw.matrices):
        cut = _Cut(image[row], label[row], moved[row], labels[row], smooth_labels)
        lattice = draw.lattice[row] if draw.lattice is not None and bool(draw.lattice[row].any()) else None
        stretch = stretch_of(matrix) if lattice is None else None
        if stretch is None:
            turned += cut.turned(matrix, lattice)
        elif stretch.only_moves_voxels(patch):
            others += cut.reordered(stretch)
        else:
            others += cut.stretched(stretch)
    side_by_side([*turned, *others], image.device)  # the longest first, so that threads end together
    return moved, labels


Piece = Callable[[], None]


@dataclass(frozen=True)
class _Cut:
    """One sample: (C, *source) and (*source), and where its patch goes, (C, *patch) and (*patch)."""

    image: Tensor
    label: Tensor
    out: Tensor
    out_label: Tensor
    smooth_labels: bool

    @property
    def source(self) -> Int3:
        return int3(self.label.shape)

    @property
    def patch(self) -> Int3:
        return int3(self.out_label.shape)

    def turned(self, matrix: Tensor, lattice: Tensor | None) -> list[Piece]:
        """A piece a block."""
        how = turn(matrix, lattice, self.source, self.patch, self.image)

        def one(block: Block) -> None:
            where, out = how.at(block), self.out_label[block]
            look_up_linear(where.cut(self.image), where, self.out[:, *block])
            label = where.cut(self.label)
            if self.smooth_labels:
                look_up_smooth(label, lambda masks, held: look_up_linear(masks, where, held), out)
            else:
                look_up_nearest(label, where, out)

        return [partial(one, block) for block in how.blocks()]

    def reordered(self, stretch: Stretch) -> list[Piece]:
        """A piece a channel, and one for the labels."""
        middle = tuple(slice((s - p) // 2, (s - p) // 2 + p) for s, p in zip(self.source, self.patch, strict=True))
        pairs = [*zip(self.image.split(1), self.out.split(1), strict=True), (self.label[None], self.out_label[None])]
        return [partial(stretch.reorder, source[:, *middle], out) for source, out in pairs]

    def stretched(self, stretch: Stretch) -> list[Piece]:
        """A piece a channel and block of planes, and one or a few for the labels."""
        how = stretched(stretch, self.source, self.patch)
        pieces = [
            partial(how.linear, block, self.image[c : c + 1], self.out[c : c + 1, block.rows])
            for block in how.along[0]
            for c in range(len(self.image))
        ]
        if not self.smooth_labels:
            return [*pieces, partial(how.nearest, self.label, self.out_label)]

        def smooth(block: Band) -> None:
            look_up_smooth(self.label, partial(how.linear, block), self.out_label[block.rows])

        return [*pieces, *(partial(smooth, block) for block in how.along[0])]


def _rotation(angle: Tensor, axis: int) -> Tensor:
    """(B, 3, 3) rotations about an array axis."""
    matrices = torch.zeros(len(angle), 3, 3)
    first, second = [i for i in range(3) if i != axis]
    matrices[:, axis, axis] = 1
    matrices[:, first, first] = matrices[:, second, second] = torch.cos(angle)
    matrices[:, first, second] = -torch.sin(angle)
    matrices[:, second, first] = torch.sin(angle)
    return matrices
