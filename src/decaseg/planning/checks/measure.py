"""Measures the voxels of an image or a label map in one pass over its slabs: what the rules need, in kilobytes."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decaseg.geometry import Float3, Int3, float3

LATTICE = 48  # places looked at along each axis, spread evenly: 110,592 a channel, enough for percentiles
SIDE = LATTICE // 2  # of a thumbnail, whose cells are means of 2 x 2 x 2 of those places
MAX_VALUES = 1000  # a label map with more different values is no label map
Slabs = Iterable[tuple[int, int, NDArray]]  # channel, first z, (X, Y, depth)


@dataclass(frozen=True)
class Thumbnail:
    """A volume as SIDE^3 bytes, 0 to 255, in the file's own axes; base64, so that it can be kept as text."""

    text: str

    @classmethod
    def of(cls, lattice: NDArray[np.float32]) -> Thumbnail:
        """From values at LATTICE^3 places: means of eight neighbours, the middle 98 % of them spread over 0 to 255."""
        values = np.nan_to_num(lattice.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        cells = values.reshape(SIDE, 2, SIDE, 2, SIDE, 2).mean(axis=(1, 3, 5))
        low, high = np.percentile(cells, [1, 99])
        low, high = (low, high) if high > low else (float(cells.min()), float(cells.max()))
        scaled = (cells - low) / (high - low) if high > low else np.zeros_like(cells)
        return cls(base64.b64encode(np.clip(scaled * 255, 0, 255).round().astype(np.uint8).tobytes()).decode())

    @property
    def array(self) -> NDArray[np.float32]:
        """(SIDE, SIDE, SIDE), 0 to 1."""
        data = np.frombuffer(base64.b64decode(self.text), np.uint8)
        return data.reshape(SIDE, SIDE, SIDE).astype(np.float32) / np.float32(255)


@dataclass(frozen=True)
class ChannelVoxels:
    """One channel: its finite range, how many voxels are not finite, and percentiles of what is not background.

    Background is the lowest value where a twentieth of all voxels or more have exactly that one.
    """

    voxels: int
    not_finite: int
    low: float
    high: float
    percentile_1: float
    percentile_50: float
    percentile_99: float


@dataclass(frozen=True)
class ImageVoxels:
    """An image. `digest`: equal for the same bytes of voxels; `values`: for the same values in any number type."""

    digest: str
    values: str
    channels: tuple[ChannelVoxels, ...]
    thumbnail: Thumbnail

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> ImageVoxels:
        channels = tuple(ChannelVoxels(**channel) for channel in facts["channels"])
        return cls(facts["digest"], facts["values"], channels, Thumbnail(**facts["thumbnail"]))


@dataclass(frozen=True)
class LabelVoxels:
    """A label map. `counts`: voxels of each whole number that occurs (None: far too many for a label map).

    `fractions` voxels are no whole numbers, at most `off` from the nearest (NaN and infinities: None). `kind`: numpy's
    letter of the file's number type. `centres`: mean index (x, y, z) of each value but 0.
    """

    digest: str
    kind: str
    counts: Mapping[int, int] | None
    fractions: int
    off: float | None
    centres: Mapping[int, Float3]
    thumbnail: Thumbnail

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def meant(self, values: Mapping[int, int]) -> LabelVoxels:
        """The same with each value replaced as `values` says; where two become one, their voxels add up."""
        if not values or self.counts is None:
            return self
        counts: dict[int, int] = {}
        for value, number in self.counts.items():
            counts[values.get(value, value)] = counts.get(values.get(value, value), 0) + number
        centres = {values.get(value, value): centre for value, centre in self.centres.items()}
        return replace(self, counts=counts, centres=centres)

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> LabelVoxels:
        counts, centres = facts["counts"], facts["centres"]
        return cls(
            digest=facts["digest"],
            kind=facts["kind"],
            counts=None if counts is None else {int(value): number for value, number in counts.items()},
            fractions=facts["fractions"],
            off=facts["off"],
            centres={int(value): float3(centre) for value, centre in centres.items()},
            thumbnail=Thumbnail(**facts["thumbnail"]),
        )


def slabs_of(array: NDArray) -> Slabs:
    """A (C, X, Y, Z) array in memory as `nifti.slabs` gives a file's: about a million voxels at a time."""
    depth = max(1, (1 << 20) // (array.shape[1] * array.shape[2]))
    for number, channel in enumerate(array):
        for z in range(0, array.shape[3], depth):
            yield number, z, channel[:, :, z : z + depth]


def measure_image(slabs: Slabs, shape: Int3, channels: int) -> ImageVoxels:
    """All about an image's voxels, from one pass; nothing is held of a channel before it is there, or after it."""
    crc, values = _Crc(shape, channels), hashlib.sha256(f"{shape}".encode())
    found: list[ChannelVoxels] = []
    thumbnail: Thumbnail | None = None
    for _, pieces in groupby(slabs, key=itemgetter(0)):
        span, lattice = _Span(), _Lattice(shape)
        for _, z, slab in pieces:
            crc.update(slab)
            span.update(slab)
            lattice.update(z, slab)
        values.update(f"{span.low} {span.high}".encode())
        values.update(lattice.values.tobytes())
        found.append(span.facts(lattice.values))
        thumbnail = thumbnail or Thumbnail.of(lattice.values)
    assert thumbnail is not None  # an image has a channel
    same_values = values.hexdigest()[:32]
    return ImageVoxels(crc.digest(same_values), same_values, tuple(found), thumbnail)


def measure_label(slabs: Slabs, shape: Int3, channels: int) -> LabelVoxels:
    """All about a label map's voxels, from one pass. Of several channels only the first is counted."""
    crc, lattice = _Crc(shape, channels), _Lattice(shape)
    counts: Counter[int] = Counter()
    sums: dict[int, NDArray[np.float64]] = {}
    fractions, off, too_many, kind = 0, 0.0, False, "u"
    for number, z, slab in slabs:
        crc.update(slab)
        kind = slab.dtype.kind
        if number or too_many:
            continue
        flat = slab.T.reshape(-1)  # z slowest, as in the file
        if kind == "f":
            whole, strange, far = _whole_numbers(flat)
            fractions += strange
            off = max(off, far)
        else:
            whole = flat
        lattice.update(z, (whole != 0).reshape(slab.T.shape).T)
        _count(whole, slab.shape[:2], z, counts, sums)
        too_many = len(counts) > MAX_VALUES
    if fractions:
        counts[0] -= fractions  # they were put to 0 to be counted with the rest
        counts = +counts
    centres = {value: float3(total / counts[value]) for value, total in sums.items() if counts.get(value)}
    return LabelVoxels(
        digest=crc.digest(f"{sorted(counts.items())} {sorted(centres.items())}"),
        kind=kind,
        counts=None if too_many else dict(sorted(counts.items())),
        fractions=fractions,
        off=off if np.isfinite(off) else None,
        centres={} if too_many else dict(sorted(centres.items())),
        thumbnail=Thumbnail.of(lattice.values),
    )


def _whole_numbers(flat: NDArray) -> tuple[NDArray[np.int64], int, float]:
    """The values as integers, 0 where they are none; how many are none, and how far they are off at most."""
    with np.errstate(invalid="ignore"):
        nearest = np.rint(flat)
        good = (flat == nearest) & (np.abs(flat) < 2**53)
        strange = int(flat.size - np.count_nonzero(good))
        if not strange:
            return flat.astype(np.int64), 0, 0.0
        rest = ~good
        distance = np.abs(flat[rest] - nearest[rest]).astype(np.float64)
        far = float(distance.max()) if np.isfinite(distance).all() else float("inf")
        return np.where(good, flat, 0).astype(np.int64), strange, far


def _count(
    flat: NDArray, plane: tuple[int, ...], z: int, counts: Counter[int], sums: dict[int, NDArray[np.float64]]
) -> None:
    places = np.flatnonzero(flat)
    counts[0] += int(flat.size - places.size)
    if not places.size:
        return
    found, which = _indexed(flat[places])
    counts.update(dict(zip(found.tolist(), np.bincount(which, minlength=len(found)).tolist(), strict=True)))
    width, height = plane
    rows = places // width
    axes = (places - rows * width, rows % height, rows // height + z)
    totals = np.stack([np.bincount(which, weights=axis, minlength=len(found)) for axis in axes], axis=1)
    for value, total in zip(found.tolist(), totals, strict=True):
        if value in sums or len(sums) <= MAX_VALUES:
            sums[value] = sums.get(value, np.zeros(3)) + total


def _indexed(values: NDArray) -> tuple[NDArray, NDArray]:
    """Different values, sorted, and for each of `values` the place of its own among them; without sorting bytes."""
    if values.min() >= 0 and values.max() <= 255:
        small = values.astype(np.uint8, copy=False)
        found = np.flatnonzero(np.bincount(small, minlength=256))
        place = np.zeros(256, np.intp)
        place[found] = np.arange(len(found))
        return found, place[small]
    found, which = np.unique(values, return_inverse=True)
    return found, which


class _Crc:
    """zlib's checksum of all voxels, whatever the file's compression and header: five times as fast as SHA-256.

    Alone it would be too weak to call two volumes the same; with a hash of what else was measured it is not.
    """

    def __init__(self, shape: Int3, channels: int) -> None:
        self.start, self.crc, self.dtype = f"{channels} {shape}", 0, ""

    def update(self, slab: NDArray) -> None:
        self.dtype = self.dtype or str(slab.dtype)
        self.crc = zlib.crc32(np.ascontiguousarray(slab.T).data, self.crc)

    def digest(self, measured: str) -> str:
        return hashlib.sha256(f"{self.start} {self.dtype} {self.crc} {measured}".encode()).hexdigest()[:32]


class _Lattice:
    """float32 values at LATTICE^3 places spread evenly over an (X, Y, Z) volume; short axes are visited repeatedly."""

    def __init__(self, shape: Int3) -> None:
        self.x, self.y, self.z = (np.linspace(0, n - 1, LATTICE).round().astype(np.intp) for n in shape)
        self.values = np.zeros((LATTICE, LATTICE, LATTICE), np.float32)

    def update(self, z: int, slab: NDArray) -> None:
        inside = np.flatnonzero((self.z >= z) & (self.z < z + slab.shape[2]))
        if inside.size:
            with np.errstate(over="ignore"):
                self.values[:, :, inside] = slab[np.ix_(self.x, self.y, self.z[inside] - z)]


class _Span:
    """Range and count of a channel's finite voxels."""

    def __init__(self) -> None:
        self.low, self.high, self.voxels, self.not_finite = float("inf"), float("-inf"), 0, 0

    def update(self, slab: NDArray) -> None:
        self.voxels += slab.size
        with np.errstate(invalid="ignore"):
            low, high = slab.min(), slab.max()  # both pass NaN on
        if not (np.isfinite(low) and np.isfinite(high)):
            finite = slab[np.isfinite(slab)]
            self.not_finite += slab.size - finite.size
            if not finite.size:
                return
            low, high = finite.min(), finite.max()
        self.low, self.high = min(self.low, float(low)), max(self.high, float(high))

    def facts(self, lattice: NDArray[np.float32]) -> ChannelVoxels:
        if self.low > self.high:  # nothing finite at all
            return ChannelVoxels(self.voxels, self.not_finite, 0.0, 0.0, 0.0, 0.0, 0.0)
        values = lattice[np.isfinite(lattice)]
        inside = values[values > self.low] if np.mean(values <= self.low) >= 0.05 else values
        inside = inside if inside.size else np.array([self.low])
        p1, p50, p99 = (float(p) for p in np.percentile(inside, [1, 50, 99]))
        return ChannelVoxels(self.voxels, self.not_finite, self.low, self.high, p1, p50, p99)
