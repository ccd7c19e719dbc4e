"""What a person may choose about a plan; every None leaves the number to the data."""

from __future__ import annotations

import math
from dataclasses import dataclass

from decaseg.data.normalise import Normalisation
from decaseg.data.targets import TARGETS
from decaseg.geometry import Float3, Int3
from decaseg.nets.spec import Style, one_of

MIRRORS = ("auto", "all", "none", "x", "y", "z", "xy", "xz", "yz")  # x: right-left, y: front-back, z: up-down
NORMALISATIONS = ("zscore", "zscore_nonzero", "ct")
KERNELS = (1, 3, 5, 7)


@dataclass(frozen=True, kw_only=True)
class Choices(Style):
    """The part of a recipe that the planner reads: what to outline from what, the network, the patches."""

    target: str = "all"
    channels: tuple[str, ...] | None = None
    spacing_mm: Float3 | None = None
    normalisation: tuple[str, ...] | None = None  # one for all channels or one each, as `normalisation_of` reads them
    crop: bool = True  # to the box of what is not 0
    base_filters: int = 32
    finest_filters: int | None = None  # of the finest level, where it shall have fewer than base_filters
    max_filters: int = 320
    filters: tuple[int, ...] | None = None  # a level
    max_levels: int = 7
    poolings: Int3 | None = None  # how often each axis is halved
    strides: tuple[Int3, ...] | None = None  # a level, the first 1 x 1 x 1; as in plan.json
    kernels: tuple[Int3, ...] | None = None  # a level
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
            ("--set finest_filters=", self.finest_filters),
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
        if self.spacing_mm is not None and not all(0 < mm < math.inf for mm in self.spacing_mm):
            raise ValueError(f"--spacing {' '.join(f'{mm:g}' for mm in self.spacing_mm)}: must be above 0 mm each")
        for word in self.normalisation or ():
            normalisation_of(word)
        self._check_levels()

    def _check_levels(self) -> None:
        """ValueError for numbers a level that no network can have, or that contradict each other."""
        if self.poolings is not None and not all(0 <= n <= 10 for n in self.poolings):
            raise ValueError(f"--set poolings={','.join(map(str, self.poolings))}: give 0 to 10 halvings an axis")
        if self.poolings is not None and self.strides is not None:
            raise ValueError("--set poolings and strides: strides say how often each axis is halved; give one of them")
        if self.strides is not None:
            said = f"--set strides={shown_levels(self.strides)}"
            if self.strides[:1] != ((1, 1, 1),):
                raise ValueError(f"{said}: the first level is the patch itself; begin with 1x1x1")
            if not all(stride in (1, 2) for level in self.strides for stride in level):
                raise ValueError(f"{said}: an axis is halved (2) or not (1)")
        if self.kernels is not None and not all(k in KERNELS for level in self.kernels for k in level):
            raise ValueError(f"--set kernels={shown_levels(self.kernels)}: give lengths of 1, 3, 5 or 7")
        if self.filters is not None and (not self.filters or min(self.filters) < 1):
            raise ValueError(f"--set filters={','.join(map(str, self.filters))}: give each level at least 1")


def shown_levels(levels: tuple[Int3, ...]) -> str:
    """As `--set` takes it: `1x1x1,2x2x1`."""
    return ",".join("x".join(map(str, level)) for level in levels)


def normalisation_of(word: str) -> tuple[str, tuple[float, ...]]:
    """Kind and numbers of `zscore`, `zscore_nonzero`, `ct`, `ct:LOW:HIGH` or `ct:LOW:HIGH:MEAN:STD`.

    >>> normalisation_of("ct:-160:240")
    ('ct', (-160.0, 240.0))
    """
    kind, *texts = word.split(":")
    one_of("--set normalisation=", kind, NORMALISATIONS)
    try:
        numbers = tuple(float(text) for text in texts)
    except ValueError:
        numbers = (math.nan,)
    lengths = (0, 2, 4) if kind == "ct" else (0,)
    if len(numbers) not in lengths or not all(map(math.isfinite, numbers)):
        raise ValueError(
            f"--set normalisation={word}: write zscore, zscore_nonzero, ct, ct:LOW:HIGH or ct:LOW:HIGH:MEAN:STD"
        )
    if numbers and (numbers[0] >= numbers[1] or (len(numbers) == 4 and numbers[3] <= 0)):
        raise ValueError(f"--set normalisation={word}: LOW must be below HIGH, and STD above 0")
    return kind, numbers


def chosen_normalisation(word: str, measured: Normalisation) -> Normalisation:
    """The normalisation of that name, with the data set's own numbers (`measured`) where the word gives none."""
    kind, numbers = normalisation_of(word)
    if kind != "ct":
        return Normalisation(kind)
    all_measured = (measured.low, measured.high, measured.mean, measured.std)
    low, high, mean, std = numbers + all_measured[len(numbers) :]
    return Normalisation("ct", mean, std, low, high)


@dataclass(frozen=True, kw_only=True)
class Wishes(Choices):
    """All that a plan follows from besides the data."""

    memory_gib: float | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.memory_gib is not None and self.memory_gib <= 0:
            raise ValueError(f"--memory {self.memory_gib:g}: must be above 0 GiB")
