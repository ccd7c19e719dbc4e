"""Blur, low resolution and scaling: linear, and separable, so each is one small matrix an axis.

A Gaussian of 7 voxels as a 128 x 128 matrix does 18 times the multiplications of a convolution, yet matrix products
run so much nearer the processor's peak that it takes about a tenth of the time. Such matrices are zero but for a band
along the diagonal, so blocks of rows, each with the columns that it needs, halve that once more (see
benchmarks/augmentation/).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK_ROWS = 32


@dataclass(frozen=True)
class Band:
    """Some rows of a matrix (m, n), and those of their columns outside of which they are zero."""

    rows: slice
    columns: slice
    weights: Tensor


def bands(matrix: Tensor) -> list[Band]:
    """A matrix (m, n) on the CPU as blocks of rows."""
    found = []
    for start in range(0, len(matrix), BLOCK_ROWS):
        block = matrix[start : start + BLOCK_ROWS]
        used = block.any(0).nonzero().flatten().tolist() or [0]
        columns = slice(used[0], used[-1] + 1)
        found.append(Band(slice(start, start + len(block)), columns, block[:, columns].contiguous()))
    return found


def blur_matrix(n: int, sigma: float) -> Tensor:
    """(n, n) Gaussian of `sigma` voxels, cut off at 4 sigma, edge voxels repeated outwards."""
    reach = int(4 * sigma + 0.5)
    offset = torch.arange(-reach, reach + 1)
    weight = torch.exp(-0.5 * (offset / sigma) ** 2)
    source = (torch.arange(n)[:, None] + offset).clamp(0, n - 1)
    return torch.zeros(n, n).scatter_add_(1, source, (weight / weight.sum()).expand(n, -1))


def low_resolution_matrix(n: int, zoom: float) -> Tensor:
    """(n, n): of n voxels every (1 / zoom)th is kept, and n are interpolated linearly from those: a coarser scan."""
    kept = max(1, round(n * zoom))
    keep = ((torch.arange(kept) + 0.5) * n / kept).long()
    place = ((torch.arange(n) + 0.5) * kept / n - 0.5).clamp(0, kept - 1)
    low = place.long()
    source = keep[torch.stack((low, (low + 1).clamp(max=kept - 1)), 1)]
    return torch.zeros(n, n).scatter_add_(1, source, torch.stack((low + 1 - place, place - low), 1))


def linear_matrix(place: Tensor, n: int) -> Tensor:
    """(m, n) in the precision of `place` (m,): linear interpolation at those places among n voxels, 0 outside."""
    low = place.floor()
    taps = torch.stack((low, low + 1), 1)
    weights = torch.stack((low + 1 - place, place - low), 1) * ((taps >= 0) & (taps < n))
    return place.new_zeros(len(place), n).scatter_add_(1, taps.clamp(0, n - 1).long(), weights)


def apply_along_axes(channel: Tensor, matrices: list[Tensor]) -> None:
    """Multiplies a contiguous (X, Y, Z) by one square matrix an axis, in place."""
    along_x, along_y, along_z = (bands(matrix) for matrix in matrices)
    turned = torch.empty_like(channel)
    for band in along_x:
        multiply_first(band, channel, turned[band.rows])
    multiply_others(along_y, along_z, turned, channel)


def multiply_first(band: Band, volume: Tensor, out: Tensor) -> None:
    """A band times the first axis of (X, ...), into contiguous `out` (rows, ...)."""
    taken = volume[band.columns]
    torch.mm(band.weights.to(volume), taken.reshape(len(taken), -1), out=out.view(len(out), -1))


def multiply_others(along_y: list[Band], along_z: list[Band], volume: Tensor, out: Tensor) -> None:
    """Bands times the second and third axis of (X, Y, Z), into contiguous `out` (X, rows of y, rows of z)."""
    turned = torch.cat([torch.matmul(band.weights.to(volume), volume[:, band.columns]) for band in along_y], 1)
    flat, result = turned.view(-1, turned.shape[2]), out.view(-1, out.shape[2])
    for band in along_z:
        torch.mm(flat[:, band.columns], band.weights.to(volume).mT, out=result[:, band.rows])
