"""Brings the arbitrary intensities of scanners to a common scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

TINY = 1e-8


@dataclass(frozen=True)
class Normalisation:
    """How one channel is normalised.

    `zscore`: minus the mean, divided by the standard deviation of all voxels of the case.
    `zscore_nonzero`: the same over the voxels that are not 0; the others stay 0 (skull-stripped MR).
    `ct`: clipped to [low, high], then the data set's own mean and std (Isensee et al. 2021, nnU-Net, CT scheme).
    """

    kind: str
    mean: float = 0.0
    std: float = 1.0
    low: float = 0.0
    high: float = 0.0

    def __call__(self, channel: NDArray, nonzero: NDArray[np.bool_]) -> NDArray[np.float32]:
        """The (X, Y, Z) channel as float32; `nonzero` marks the voxels where any channel is not 0."""
        channel = channel.astype(np.float32, copy=False)
        if self.kind == "ct":
            return (np.clip(channel, self.low, self.high) - np.float32(self.mean)) / np.float32(max(self.std, TINY))
        if self.kind == "zscore_nonzero" and nonzero.any():
            inside = channel[nonzero]
            mean, std = inside.mean(dtype=np.float64), inside.std(dtype=np.float64)
            return np.where(nonzero, (channel - np.float32(mean)) / np.float32(max(std, TINY)), np.float32(0))
        mean, std = channel.mean(dtype=np.float64), channel.std(dtype=np.float64)
        return (channel - np.float32(mean)) / np.float32(max(std, TINY))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Normalisation:
        return cls(**document)
