"""Brings the arbitrary intensities of scanners to a common scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decaseg.geometry import Int3, int3

TINY = 1e-8


@dataclass(frozen=True)
class Normalisation:
    """How one channel is normalised.

    `zscore`: minus the mean, divided by the standard deviation of all voxels of the case.
    `zscore_nonzero`: the same over the voxels that are not 0; the others stay 0 (skull-stripped MR).
    `zscore_centre`: as `zscore`, with the moments of a box of `centre` voxels in the middle of the volume.
    `ct`: clipped to [low, high], then the data set's own mean and std (Isensee et al. 2021, nnU-Net, CT scheme).
    """

    kind: str
    mean: float = 0.0
    std: float = 1.0
    low: float = 0.0
    high: float = 0.0
    centre: Int3 | None = None

    def __call__(self, channel: NDArray, nonzero: NDArray[np.bool_]) -> NDArray[np.float32]:
        """The (X, Y, Z) channel as float32; `nonzero` marks the voxels where any channel is not 0."""
        values = channel.astype(np.float32, order="C")
        self.in_place(values, nonzero)
        return values

    def in_place(self, values: NDArray[np.float32], nonzero: NDArray[np.bool_]) -> None:
        """Normalises an (X, Y, Z) channel without another volume beside it."""
        if self.kind == "ct":
            np.clip(values, self.low, self.high, out=values)
            mean, std = self.mean, self.std
        elif self.kind == "zscore_nonzero" and (count := int(np.count_nonzero(nonzero))):
            mean, std = _moments_inside(values, count)
            for plane, inside in zip(values, nonzero, strict=True):  # a plane stays in the processor's cache
                plane -= np.float32(mean)
                plane /= np.float32(max(std, TINY))
                np.copyto(plane, 0, where=~inside)
            return
        else:
            mean, std = _moments(values if self.centre is None else values[middle(values.shape, self.centre)])
        for plane in values:
            plane -= np.float32(mean)
            plane /= np.float32(max(std, TINY))

    def to_json(self) -> dict[str, Any]:
        document = asdict(self)
        if self.centre is None:
            del document["centre"]
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Normalisation:
        values = dict(document)
        if values.get("centre") is not None:
            values["centre"] = int3(values["centre"])
        return cls(**values)


def middle(shape: Sequence[int], size: Int3) -> tuple[slice, ...]:
    """What cuts the middle `size` voxels out of a volume, all of an axis that has no more.

    Where fewer than 5 voxels would go in front, none do: so Intel's data loader (IntelAI/unet, 3D) took its crops, and
    with them the moments that its models expect.

    >>> middle((240, 240, 155), (144, 144, 152))
    (slice(48, 192, None), slice(48, 192, None), slice(0, 152, None))
    """
    starts = [(n - wanted) // 2 for n, wanted in zip(shape, size, strict=True)]
    return tuple(slice(s, s + w) if s >= 5 else slice(0, w) for s, w in zip(starts, size, strict=True))


def _moments(values: NDArray[np.float32]) -> tuple[float, float]:
    """Mean and standard deviation, summed in float64."""
    mean = float(values.mean(dtype=np.float64))
    return mean, float(np.sqrt(_squares(values, mean) / values.size))


def _moments_inside(values: NDArray[np.float32], count: int) -> tuple[float, float]:
    """Of the `count` voxels inside a mask, of (X, Y, Z) values that are 0 outside of it: none need be picked out."""
    mean = float(values.sum(dtype=np.float64)) / count
    outside = (values.size - count) * mean**2
    return mean, float(np.sqrt(max(_squares(values, mean) - outside, 0.0) / count))


def _squares(values: NDArray[np.float32], mean: float) -> float:
    """Sum of squared distances from the mean, a plane at a time: numpy's own `std` takes float64 copies of all."""
    total = 0.0
    for plane in values:
        apart = plane.astype(np.float64)
        apart -= mean
        total += float(np.einsum("ij,ij->", apart, apart))
    return total
