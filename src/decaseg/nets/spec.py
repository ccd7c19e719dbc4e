"""A network in numbers: what a plan stores, and all that is needed to build it again. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from decaseg.geometry import Int3, int3

NORMS = ("instance", "batch", "none")
DOWNSAMPLING = ("stride", "maxpool")
NONLINEARITIES = ("leaky_relu", "relu")


@dataclass(frozen=True)
class NetworkSpec:
    """A U-Net: one entry a level in `filters`, `strides` (the first is (1, 1, 1)) and `kernels`, finest first."""

    in_channels: int
    out_channels: int
    filters: tuple[int, ...]
    strides: tuple[Int3, ...]
    kernels: tuple[Int3, ...]
    convs: int = 2
    norm: str = "instance"
    nonlinearity: str = "leaky_relu"
    downsample: str = "stride"
    residual: bool = False
    dropout: float = 0.0
    deep_supervision: int = 0

    def __post_init__(self) -> None:
        if not len(self.filters) == len(self.strides) == len(self.kernels) >= 1:
            raise ValueError("network: filters, strides and kernels need one entry a level")
        for name, value, known in (
            ("norm", self.norm, NORMS),
            ("downsample", self.downsample, DOWNSAMPLING),
            ("nonlinearity", self.nonlinearity, NONLINEARITIES),
        ):
            if value not in known:
                raise ValueError(f"{name} {value!r}: choose one of {', '.join(known)}")

    @property
    def reduction(self) -> Int3:
        """By how much the deepest level is smaller than the input; patches must be multiples of it."""
        total = [1, 1, 1]
        for stride in self.strides:
            total = [t * s for t, s in zip(total, stride, strict=True)]
        return int3(total)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> NetworkSpec:
        fields = dict(document)
        fields["filters"] = tuple(int(f) for f in fields["filters"])
        fields["strides"] = tuple(int3(s) for s in fields["strides"])
        fields["kernels"] = tuple(int3(k) for k in fields["kernels"])
        return cls(**fields)
