"""What is wrong with the voxels of one image or one label map: pairs of a fault and the way out."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Faults = list[tuple[str, str]]
SLAB_VOXELS = 1 << 20  # counted at a time, so that counting needs no second copy of the volume
MAX_VALUES = 1000  # a label map with more different values is no label map


def image_faults(array: NDArray, channels: Sequence[str]) -> Faults:
    """Faults of a (C, X, Y, Z) image: NaN, infinities, channels without any contrast."""
    faults: Faults = []
    for number, channel in enumerate(array):
        one_of_many = array.shape[0] > 1
        name = f" {channels[number]}" if number < len(channels) else ""
        where = f"channel {number}{name} " if one_of_many else ""
        with np.errstate(invalid="ignore"):
            low, high = channel.min(), channel.max()  # both pass NaN on
        if not (np.isfinite(low) and np.isfinite(high)):
            bad = sum(int(slab.size - np.count_nonzero(np.isfinite(slab))) for slab in _slabs(channel))
            fix = "replace them by the background's value or export the image again"
            faults.append((f"{where}has {bad:,} of {channel.size:,} voxels that are NaN or infinite", fix))
        elif low == high:
            fix = "export it again or take the case out of dataset.json"
            faults.append((f"{where}is {low:g} in every voxel, so there is nothing to learn from", fix))
    return faults


def label_faults(array: NDArray, labels: Mapping[int, str]) -> tuple[Faults, frozenset[int] | None]:
    """Faults of a (1, X, Y, Z) label map, and the values that occur in it (None: too many to be told)."""
    counts: Counter[int] = Counter()
    fractions = 0
    for slab in _slabs(array[0]):
        if slab.dtype.kind == "f":
            with np.errstate(invalid="ignore"):
                whole = np.isfinite(slab) & (slab == np.rint(slab)) & (np.abs(slab) < 2**53)
            fractions += slab.size - int(np.count_nonzero(whole))
            slab = slab[whole].astype(np.int64)
        counts.update(_counted(slab))
        if len(counts) > MAX_VALUES:
            fault = f"holds more than {MAX_VALUES:,} different values, so it looks like an image, not a label map"
            return [(fault, "name the label map in dataset.json")], None
    faults: Faults = []
    if fractions:
        fault = f"has {fractions:,} voxels that are no whole numbers (or NaN)"
        fix = "store whole numbers; resample label maps with nearest neighbour, not linearly"
        faults.append((fault, fix))
    strange = sorted(value for value in counts if value not in labels)
    if strange:
        named = ", ".join(f"{value} ({counts[value]:,} voxels)" for value in strange[:5]) + " …" * (len(strange) > 5)
        fault = f"holds values that dataset.json does not name: {named}"
        faults.append((fault, 'name them under "labels" or set those voxels to one that is named'))
    if set(counts) == {0} and not fractions:
        fix = "draw it, or take the case out of dataset.json"
        faults.append(("is an empty label: 0, the background, in every voxel", fix))
    return faults, frozenset(counts)


def _counted(slab: NDArray) -> dict[int, int]:
    if slab.size == 0:
        return {}
    if slab.min() >= 0 and slab.max() <= 255:
        counts = np.bincount(slab.astype(np.uint8, copy=False).ravel(order="K"))
        return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
    values, numbers = np.unique(slab, return_counts=True)
    return dict(zip(values.tolist(), numbers.tolist(), strict=True))


def _slabs(volume: NDArray) -> Iterator[NDArray]:
    """An (X, Y, Z) volume in pieces of whole z slices, which lie together in a file's order."""
    depth = max(1, SLAB_VOXELS // (volume.shape[0] * volume.shape[1]))
    for z in range(0, volume.shape[2], depth):
        yield volume[:, :, z : z + depth]


def digest_of(array: NDArray) -> bytes:
    """The same for the same shape and type with the same voxels, whatever the file's compression and header."""
    digest = hashlib.blake2b(f"{array.shape} {array.dtype}".encode(), digest_size=16)
    for channel in array:
        for slab in _slabs(channel):
            digest.update(np.ascontiguousarray(slab.T).data)
    return digest.digest()
