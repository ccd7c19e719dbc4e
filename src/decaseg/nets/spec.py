"""A network in numbers: what a plan stores, and all that is needed to build it again. No torch here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from decaseg.geometry import Int3, int3

NORMS = ("instance", "batch", "group", "none")
DOWNSAMPLING = ("stride", "maxpool")
UPSAMPLING = ("transposed", "nearest")
NONLINEARITIES = ("leaky_relu", "relu")
RESIDUAL_BLOCKS = (1, 3, 4, 6, 6, 6)  # a level, finest first: nnU-Net's ResEnc presets (Isensee et al. 2024)


@dataclass(frozen=True, kw_only=True)
class Style:
    """How the levels of a U-Net are made: what a recipe chooses and a network keeps.

    Plain: a level is `convs` convolutions on the way down and up. `residual`: on the way down it is `blocks` residual
    blocks of `convs` convolutions each (None: RESIDUAL_BLOCKS; a short list's last entry is repeated), and on the way
    up one convolution, as in nnU-Net's ResEnc. `decoder_convs` changes the latter. `upsample` is how a level reaches
    the next finer one: a transposed convolution, or copies of each voxel, which keep all channels. `deep_supervision`
    is how many coarser levels get a loss too.
    """

    convs: int = 2
    residual: bool = False
    blocks: tuple[int, ...] | None = None
    decoder_convs: int | None = None
    norm: str = "instance"
    nonlinearity: str = "leaky_relu"
    downsample: str = "stride"
    upsample: str = "transposed"
    dropout: float = 0.0
    deep_supervision: int = 0

    def __post_init__(self) -> None:
        one_of("--set norm=", self.norm, NORMS)
        one_of("--set downsample=", self.downsample, DOWNSAMPLING)
        one_of("--set upsample=", self.upsample, UPSAMPLING)
        one_of("--set nonlinearity=", self.nonlinearity, NONLINEARITIES)
        for name, count in (("convs", self.convs), ("decoder_convs", self.decoder_convs)):
            if count is not None and count < 1:
                raise ValueError(f"--set {name}={count}: a level needs at least 1 convolution")
        if self.blocks is not None and (not self.blocks or min(self.blocks) < 1):
            raise ValueError(
                f"--set blocks={','.join(map(str, self.blocks))}: give each level at least 1 block, e.g. 1,3,4,6"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"--set dropout={self.dropout:g}: is a share of channels; give 0 or more and less than 1")
        if self.deep_supervision < 0:
            raise ValueError(f"--set deep_supervision={self.deep_supervision}: is a number of levels; give 0 or more")


def one_of(option: str, value: str, known: Iterable[str]) -> None:
    """ValueError, naming the option and the choices, where `value` is none of them."""
    if value not in (names := list(known)):
        raise ValueError(f"{option}{value}: choose one of {', '.join(names)}")


def style_of(choices: Style) -> dict[str, Any]:
    """The fields of `Style`, out of anything that has them."""
    return {field.name: getattr(choices, field.name) for field in fields(Style)}


@dataclass(frozen=True)
class NetworkSpec(Style):
    """A U-Net: one entry a level in `filters`, `strides` (the first is (1, 1, 1)) and `kernels`, finest first.

    `members` above 1: so many of them, with weights of their own, whose logits are averaged.
    """

    in_channels: int
    out_channels: int
    filters: tuple[int, ...]
    strides: tuple[Int3, ...]
    kernels: tuple[Int3, ...]
    members: int = 1

    def __post_init__(self) -> None:
        if not len(self.filters) == len(self.strides) == len(self.kernels) >= 1:
            raise ValueError("network: filters, strides and kernels need one entry a level")
        super().__post_init__()

    def blocks_at(self, level: int) -> int:
        """Residual blocks of the encoder's level; 1 where it is plain."""
        if not self.residual:
            return 1
        blocks = self.blocks or RESIDUAL_BLOCKS
        return blocks[min(level, len(blocks) - 1)]

    @property
    def convs_up(self) -> int:
        """Convolutions a level on the way up."""
        return self.decoder_convs or (1 if self.residual else self.convs)

    def raised_at(self, level: int) -> int:
        """Channels that come up to a decoder's level from the one below it, beside the skip's."""
        return self.filters[level] if self.upsample == "transposed" else self.filters[level + 1]

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
        values = dict(document)
        values["filters"] = tuple(int(f) for f in values["filters"])
        values["strides"] = tuple(int3(s) for s in values["strides"])
        values["kernels"] = tuple(int3(k) for k in values["kernels"])
        if values.get("blocks") is not None:
            values["blocks"] = tuple(int(b) for b in values["blocks"])
        return cls(**values)
