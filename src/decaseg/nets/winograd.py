"""3 x 3 x 3 convolutions with half the multiplications, for training on a processor in float32.

Winograd's F(4, 3) along the first axis: four results of a filter of three taps from six products instead of twelve
(Winograd 1980; Lavin and Gray 2016, with the points 0, 1, -1, 2, -2 and infinity). Along the other two axes the
filter stays as it is, so that the products are six ordinary 3 x 3 convolutions over slabs:

    slabs 4t-1 .. 4t+4  -INPUT->  6 points  -3 x 3 with FILTER @ weights->  6 products  -OUTPUT->  slabs 4t .. 4t+3

Channels-last memory makes each transform one product of a 6-row matrix with whole slabs, at the speed of memory.
The transforms are linear, so the gradients are the same steps transposed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

TILE, POINTS = 4, 6

INPUT = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
FILTER = tuple(
    tuple(n / 24 for n in row) for row in ((6, 0, 0), (-4, -4, -4), (-4, 4, -4), (1, 2, 4), (1, -2, 4), (0, 0, 24))
)
OUTPUT = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))

LEAST_CHANNELS = 32  # below, and on shorter axes, the transforms cost what the products save (step-speed/winograd.py)
LEAST_LENGTH = 16


def pays(layer: nn.Conv3d, x: Tensor) -> bool:
    """Whether `layer` on channels-last `x` is of a kind that this module computes, and large enough to gain by it."""
    return (
        layer.kernel_size == (3, 3, 3)
        and layer.stride == layer.dilation == (1, 1, 1)
        and layer.padding == (1, 1, 1)
        and layer.groups == 1
        and min(layer.in_channels, layer.out_channels) >= LEAST_CHANNELS
        and x.shape[2] >= LEAST_LENGTH
        and x.device.type == "cpu"
        and x.dtype == layer.weight.dtype == torch.float32
        and x.is_contiguous(memory_format=torch.channels_last_3d)
    )


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(B, C, X, Y, Z) and weights (K, C, 3, 3, 3) to (B, K, X, Y, Z), zeros outside; memory for one sample's slabs."""
    result: Tensor = _Winograd.apply(x, weight, bias)
    return result


def gradients(x: Tensor, weight: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """By `x` and by `weight`, from the gradient by what `convolve` gave."""
    gradient = gradient.contiguous(memory_format=torch.channels_last_3d)
    filters = _filters(weight)
    to_filters = [torch.zeros_like(one) for one in filters]
    to_x = torch.zeros_like(x)
    grid = _Slabs(*x.shape[2:])
    forth, back = x.new_tensor(INPUT), x.new_tensor(OUTPUT).T.contiguous()
    to_points = x.new_empty(POINTS, grid.tiles, grid.width * x.shape[1])
    for sample, coming, going in zip(_rows(x), _rows(gradient), _rows(to_x), strict=True):
        points = grid.to_points(sample, forth, -1)
        to_products = grid.to_points(coming, back, 0)
        for k in range(POINTS):
            image, product = grid.images(points[k]), grid.images(to_products[k])
            to_image, to_filter, _ = torch.ops.aten.convolution_backward(
                product, image, filters[k], None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [True, True, False]
            )
            grid.images(to_points[k]).copy_(to_image)
            to_filters[k] += to_filter
        grid.from_points(to_points, forth.T.contiguous(), -1, going)
    to_weight = torch.einsum("kj,kocyz->ocjyz", x.new_tensor(FILTER), torch.stack(to_filters))
    return to_x, to_weight


class _Winograd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        filters = _filters(weight)
        out = x.new_empty(x.shape[0], weight.shape[0], *x.shape[2:]).contiguous(memory_format=torch.channels_last_3d)
        grid = _Slabs(*x.shape[2:])
        forth, back = x.new_tensor(INPUT), x.new_tensor(OUTPUT)
        products = x.new_empty(POINTS, grid.tiles, grid.width * weight.shape[0])
        for sample, result in zip(_rows(x), _rows(out), strict=True):
            points = grid.to_points(sample, forth, -1)
            for k in range(POINTS):
                # The second point enters each of the four results once: there the bias does, too.
                made = functional.conv2d(grid.images(points[k]), filters[k], bias if k == 1 else None, padding=1)
                grid.images(products[k]).copy_(made)
            grid.from_points(products, back, 0, result)
        ctx.save_for_backward(x, weight)
        ctx.bias = bias is not None
        return out

    @staticmethod
    def backward(ctx: Any, *coming: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        return *gradients(x, weight, coming[0]), coming[0].sum((0, 2, 3, 4)) if ctx.bias else None


class _Slabs:
    """The X slabs of one sample, (X, Y * Z * channels), cut into tiles of four."""

    def __init__(self, length: int, height: int, depth: int) -> None:
        self.length, self.height, self.depth = length, height, depth
        self.width = height * depth
        self.tiles = -(-length // TILE)

    def images(self, points: Tensor) -> Tensor:
        """One point's slabs (tiles, Y * Z * channels) as channels-last images (tiles, channels, Y, Z)."""
        return points.view(self.tiles, self.height, self.depth, -1).permute(0, 3, 1, 2)

    def _span(self, tile: int, start: int, size: int) -> tuple[slice, slice]:
        """The slabs a tile reads or writes and their places in its matrix; what lies outside is left out."""
        first = TILE * tile + start
        low, high = max(first, 0), min(first + size, self.length)
        return slice(low, high), slice(low - first, high - first)

    def to_points(self, slabs: Tensor, matrix: Tensor, start: int) -> Tensor:
        """(POINTS, tiles, width): `matrix` times the slabs from `start` of each tile on."""
        points = slabs.new_empty(POINTS, self.tiles, slabs.shape[1])
        for tile in range(self.tiles):
            taken, columns = self._span(tile, start, matrix.shape[1])
            torch.mm(matrix[:, columns], slabs[taken], out=points[:, tile])
        return points

    def from_points(self, points: Tensor, matrix: Tensor, start: int, slabs: Tensor) -> None:
        """`matrix` times the points, put into `slabs`, or added where tiles overlap."""
        overlap = matrix.shape[0] > TILE
        for tile in range(self.tiles):
            given, rows = self._span(tile, start, matrix.shape[0])
            if overlap:
                slabs[given].addmm_(matrix[rows], points[:, tile])
            else:
                torch.mm(matrix[rows], points[:, tile], out=slabs[given])


def _filters(weight: Tensor) -> list[Tensor]:
    """Six (K, C, 3, 3) filters, channels-last."""
    made = torch.einsum("kj,ocjyz->kocyz", weight.new_tensor(FILTER), weight)
    return [one.contiguous(memory_format=torch.channels_last) for one in made]


def _rows(x: Tensor) -> list[Tensor]:
    """Each sample of a channels-last batch as a matrix (X, Y * Z * channels) that shares its memory."""
    return [one.view(one.shape[0], -1) for one in x.permute(0, 2, 3, 4, 1)]
