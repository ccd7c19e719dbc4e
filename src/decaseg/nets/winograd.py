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

INPUT = torch.tensor(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
FILTER = torch.tensor([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24.0]]).double() / 24
OUTPUT = torch.tensor([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])

LEAST_CHANNELS = 32  # below, and on shorter axes, the transforms cost what the products save (step-speed/winograd.py)
LEAST_LENGTH = 16

# oneDNN 3.12's bf16 weight gradient on AVX-512 reads and writes past its buffers where an axis of the maps is shorter:
# NaN, or glibc's 'double free', seen from 2 x 2 x 2 maps of 8 channels on. float32 is right there.
LEAST_BF16_LENGTH = 3


class Conv3d(nn.Conv3d):
    """torch's convolution; in training by the shorter way where that pays, and in float32 where bf16 fails."""

    def forward(self, input: Tensor) -> Tensor:
        if self.training and self._pays(input):
            result: Tensor = _Winograd.apply(input, self.weight, self.bias)
            return result
        if _too_thin_for_bf16(input):
            with torch.autocast("cpu", enabled=False):
                return super().forward(input.float())
        return super().forward(input)

    def _pays(self, x: Tensor) -> bool:
        return (
            self.kernel_size == (3, 3, 3)
            and self.stride == self.dilation == (1, 1, 1)
            and self.padding == (1, 1, 1)
            and self.groups == 1
            and min(self.in_channels, self.out_channels) >= LEAST_CHANNELS
            and x.shape[2] >= LEAST_LENGTH
            and x.device.type == "cpu"
            and x.dtype == self.weight.dtype == torch.float32
            and not torch.is_autocast_enabled("cpu")
            and x.is_contiguous(memory_format=torch.channels_last_3d)
        )


def _too_thin_for_bf16(x: Tensor) -> bool:
    return (
        torch.is_grad_enabled()
        and x.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and min(x.shape[2:]) < LEAST_BF16_LENGTH
    )


class _Winograd(torch.autograd.Function):
    """(B, C, X, Y, Z) and weights (K, C, 3, 3, 3) to (B, K, X, Y, Z), zeros outside; memory for one sample's slabs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        filters = _filters(weight)
        out = x.new_empty(x.shape[0], weight.shape[0], *x.shape[2:]).contiguous(memory_format=torch.channels_last_3d)
        grid = _Slabs(*x.shape[2:])
        products = x.new_empty(POINTS, grid.tiles, grid.width * weight.shape[0])
        for sample, result in zip(_rows(x), _rows(out), strict=True):
            points = grid.to_points(sample, INPUT.to(x), -1)
            for k in range(POINTS):
                # The second point enters each of the four results once: there the bias does, too.
                made = functional.conv2d(grid.images(points[k]), filters[k], bias if k == 1 else None, padding=1)
                grid.images(products[k]).copy_(made)
            grid.from_points(products, OUTPUT.to(x), 0, result)
        ctx.save_for_backward(x, weight)
        ctx.bias = bias is not None
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last_3d)
        filters = _filters(weight)
        to_filters = [torch.zeros_like(one) for one in filters]
        to_x = torch.zeros_like(x)
        grid = _Slabs(*x.shape[2:])
        to_points = x.new_empty(POINTS, grid.tiles, grid.width * x.shape[1])
        for sample, coming, going in zip(_rows(x), _rows(gradient), _rows(to_x), strict=True):
            points = grid.to_points(sample, INPUT.to(x), -1)
            to_products = grid.to_points(coming, OUTPUT.to(x).T.contiguous(), 0)
            for k in range(POINTS):
                image, product = grid.images(points[k]), grid.images(to_products[k])
                to_image, to_filter, _ = torch.ops.aten.convolution_backward(
                    product, image, filters[k], None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [True, True, False]
                )
                grid.images(to_points[k]).copy_(to_image)
                to_filters[k] += to_filter
            grid.from_points(to_points, INPUT.to(x).T.contiguous(), -1, going)
        to_weight = torch.einsum("kj,kocyz->ocjyz", FILTER.to(x), torch.stack(to_filters))
        return to_x, to_weight, gradient.sum((0, 2, 3, 4)) if ctx.bias else None


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
    made = torch.einsum("kj,ocjyz->kocyz", FILTER.to(weight), weight)
    return [one.contiguous(memory_format=torch.channels_last) for one in made]


def _rows(x: Tensor) -> list[Tensor]:
    """Each sample of a channels-last batch as a matrix (X, Y * Z * channels) that shares its memory."""
    return [one.view(one.shape[0], -1) for one in x.permute(0, 2, 3, 4, 1)]
