"""Elastic deformation: a coarse lattice of random shifts, made smooth by cubic B-splines, that never folds space."""

from __future__ import annotations

import torch
from torch import Tensor

from decaseg.geometry import Int3

# A deformation by cubic B-splines is one to one while every shift stays below 1/2.48 of the lattice's step:
# Choi and Lee, Injectivity conditions of 2D and 3D uniform cubic B-spline functions, Graphical Models 62 (2000).
INJECTIVE = 1 / 2.479472335


def draw_elastic(share: float, strength: float, cells: int, batch: int, generator: torch.Generator) -> Tensor:
    """(B, 3, cells + 3, cells + 3, cells + 3) shifts of lattice points, as shares of the lattice's step an axis.

    A sample drawn gets shifts up to a height that is uniform in [0, strength] of what could fold; another gets zeros.
    """
    height = torch.rand(batch, generator=generator) * strength * INJECTIVE
    height *= torch.rand(batch, generator=generator) < share
    shifts = torch.rand((batch, 3, *(cells + 3,) * 3), generator=generator) * 2 - 1
    return shifts * height[:, None, None, None, None]


def smooth_shifts(lattice: Tensor, patch: Int3, block: tuple[slice, slice, slice] | None = None) -> Tensor:
    """(B, 3, *lattice) shifts of lattice points to (B, 3, *patch) shifts of voxels, in voxels; of a `block` only.

    `cells` steps of the lattice span an axis of the patch, so thick slices are bent by fewer voxels than thin ones.
    """
    cells = lattice.shape[-1] - 3
    steps = [n / cells for n in patch]
    shifts = lattice * torch.tensor(steps, device=lattice.device)[:, None, None, None]
    cuts = block or (slice(None),) * 3
    weights = (_weights(n, cells)[cut].to(lattice) for n, cut in zip(patch, cuts, strict=True))
    return torch.einsum("bcijk,xi,yj,zk->bcxyz", shifts, *weights)


def _weights(voxels: int, cells: int) -> Tensor:
    """(voxels, cells + 3) values of the cubic B-splines that stand on the lattice's points, at the voxels' centres."""
    place = (torch.arange(voxels) + 0.5) * cells / voxels  # in lattice steps; point i stands at i - 1
    distance = (place[:, None] - (torch.arange(cells + 3) - 1)).abs()
    near, far = 2 / 3 - distance**2 + distance**3 / 2, (2 - distance).clamp(min=0) ** 3 / 6
    return torch.where(distance < 1, near, far)
