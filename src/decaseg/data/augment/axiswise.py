"""Blur and low resolution: linear, and separable, so each is one small matrix an axis (exact, and fast on any device).

A Gaussian of 7 voxels as a 128 x 128 matrix does 18 times the multiplications of a convolution, yet matrix products
run so much nearer the processor's peak that it takes about a tenth of the time (see benchmarks/augmentation/).
"""

from __future__ import annotations

import torch
from torch import Tensor


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


def apply_along_axes(channel: Tensor, matrices: list[Tensor]) -> None:
    """Multiplies a contiguous (X, Y, Z) by one square matrix an axis, in place."""
    along_x, along_y, along_z = (matrix.to(channel) for matrix in matrices)
    turned = (along_x @ channel.view(len(channel), -1)).view_as(channel)
    torch.matmul(along_y @ turned, along_z.mT, out=channel)
