"""What a person may choose about a plan; every None leaves the number to the data."""

from __future__ import annotations

from dataclasses import dataclass

from decaseg.data.targets import TARGETS
from decaseg.geometry import Int3
from decaseg.nets.spec import Style, one_of

MIRRORS = ("auto", "all", "none")


@dataclass(frozen=True, kw_only=True)
class Choices(Style):
    """The part of a recipe that the planner reads: what to outline from what, the network, the patches."""

    target: str = "all"
    channels: tuple[str, ...] | None = None
    base_filters: int = 32
    max_filters: int = 320
    max_levels: int = 7
    deep_supervision: int = 2
    patch: Int3 | None = None
    patch_cover: float = 1.0  # of the median volume's length, at most, along each axis
    batch_size: int | None = None
    voxels_per_batch: int = 5_210_000  # makes nnU-Net's patches for all ten tasks, e.g. 2 x 128^3 for brains
    mirror: str = "auto"
    members: int | None = 1  # networks that are averaged; None: as many as a budget in minutes has time for

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("--target ", self.target, TARGETS)
        one_of("--set mirror=", self.mirror, MIRRORS)
        for option, count in (
            ("--base-filters ", self.base_filters),
            ("--set max_filters=", self.max_filters),
            ("--set max_levels=", self.max_levels),
            ("--batch-size ", self.batch_size),
            ("--set voxels_per_batch=", self.voxels_per_batch),
            ("--set members=", self.members),
        ):
            if count is not None and count < 1:
                raise ValueError(f"{option}{count}: must be at least 1")
        if not 0 < self.patch_cover <= 1:
            raise ValueError(
                f"--set patch_cover={self.patch_cover:g}: is a share of the volume; give more than 0, at most 1"
            )
        if self.patch is not None and min(self.patch) < 1:
            raise ValueError(f"--patch {' '.join(map(str, self.patch))}: each axis needs at least 1 voxel")


@dataclass(frozen=True, kw_only=True)
class Wishes(Choices):
    """All that a plan follows from besides the data."""

    memory_gib: float | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.memory_gib is not None and self.memory_gib <= 0:
            raise ValueError(f"--memory {self.memory_gib:g}: must be above 0 GiB")
