"""Whether a plan's numbers go together: one written by hand, damaged or hostile is refused before anything is built."""

from __future__ import annotations

import math
from collections.abc import Sequence

from decaseg.data.preprocess import Preprocessing
from decaseg.data.targets import Target
from decaseg.geometry import Int3
from decaseg.nets.spec import NetworkSpec

MAX_PATCH = 2048  # voxels along an axis
MAX_PATCH_VOXELS = 1 << 30
MAX_BATCH = 1 << 16
MAX_SPACING_MM = 10_000.0
MAX_FILTERS, MAX_LEVELS, MAX_MEMBERS, MAX_KERNEL = 1 << 14, 16, 100, 32
MAX_LABEL = 255  # label maps are uint8


def refuse_incoherent(
    how: Preprocessing, network: NetworkSpec, target: Target, patch: Int3, batch_size: int, mirror_axes: Sequence[int]
) -> None:
    """ValueError, in a few words, for the first thing in a plan that cannot be."""
    _refuse_channels(how)
    if not all(math.isfinite(mm) and 0 < mm <= MAX_SPACING_MM for mm in how.spacing_mm):
        raise ValueError(f"voxels of {how.spacing_mm} mm")
    if not all(1 <= n <= MAX_PATCH for n in patch) or math.prod(patch) > MAX_PATCH_VOXELS:
        raise ValueError(f"a patch of {patch} voxels")
    if not 1 <= batch_size <= MAX_BATCH:
        raise ValueError(f"a batch of {batch_size}")
    if len(set(mirror_axes)) < len(mirror_axes) or not set(mirror_axes) <= {0, 1, 2}:
        raise ValueError(f"mirroring along axes {tuple(mirror_axes)}")
    _refuse_target(target)
    _refuse_network(network)
    if network.in_channels != len(how.channels):
        raise ValueError(f"a network of {network.in_channels} channels for {len(how.channels)}")
    if network.out_channels != target.out_channels:
        raise ValueError(f"a network with {network.out_channels} outputs for {target.out_channels}")


def _refuse_channels(how: Preprocessing) -> None:
    count = len(how.channels)
    if not 1 <= count == len(how.channel_indices) == len(how.normalisation) <= how.file_channels:
        raise ValueError(
            f"{count} channels, {len(how.channel_indices)} places and {len(how.normalisation)} normalisations for files"
            f" of {how.file_channels}"
        )
    if not all(0 <= place < how.file_channels for place in how.channel_indices):
        raise ValueError(f"channels at {how.channel_indices} of {how.file_channels}")


def _refuse_target(target: Target) -> None:
    if not 1 <= len(target.structures) == len(target.paint) <= MAX_LABEL:
        raise ValueError(f"{len(target.structures)} structures and {len(target.paint)} values to paint them")
    ignored = () if target.ignored is None else (target.ignored,)
    for value in (*target.paint, *ignored, *(label for structure in target.structures for label in structure.labels)):
        if not 0 <= value <= MAX_LABEL:
            raise ValueError(f"the label value {value}")


def _refuse_network(network: NetworkSpec) -> None:
    wide = all(1 <= filters <= MAX_FILTERS for filters in network.filters)
    steps = (*network.strides, *network.kernels)
    if not wide or len(network.filters) > MAX_LEVELS or not 1 <= network.members <= MAX_MEMBERS:
        raise ValueError(f"a network of {network.members} times {len(network.filters)} levels of {network.filters}")
    if not all(1 <= n <= MAX_KERNEL for step in steps for n in step):
        raise ValueError(f"strides {network.strides} and kernels {network.kernels}")
