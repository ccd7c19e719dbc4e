"""What a person chooses, with three starting points: `default()`, `quick()` and `original()`."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from decaseg.geometry import int3
from decaseg.inference.input_checks import find_input_check
from decaseg.planning.wishes import Choices

CHOSEN = "chosen"  # in recipe.json: which of the settings a person gave
Rule = tuple[Callable[[Any], bool], str]
ABOVE_0: Rule = (lambda value: value > 0, "must be above 0")
FROM_0: Rule = (lambda value: value >= 0, "must be 0 or more")
FROM_1: Rule = (lambda value: value >= 1, "must be at least 1")
SHARE: Rule = (lambda value: 0 <= value <= 1, "is a share; give 0 to 1")
INSIDE: Rule = (lambda value: 0 < value < 1, "must lie between 0 and 1")

# What single numbers must obey; names of losses, optimisers and schedules are known further down, with torch.
RULES: dict[str, Rule] = {
    "foreground_share": SHARE,
    "start_share": SHARE,
    "rotation_share": SHARE,
    "scale_share": SHARE,
    "elastic_share": SHARE,
    "elastic_strength": SHARE,
    "elastic_cells": FROM_1,
    "intensity_strength": FROM_0,
    "rotation_deg": FROM_0,
    "augment_ramp": FROM_0,
    "tversky_beta": INSIDE,
    "focal_gamma": FROM_0,
    "topk_share": (lambda value: 0 < value <= 1, "is a share of the voxels; give more than 0, at most 1"),
    "lr": ABOVE_0,
    "weight_decay": FROM_0,
    "lr_end": SHARE,
    "memory_goal_gib": ABOVE_0,
    "clip_norm": ABOVE_0,
    "average_decay": INSIDE,
    "epochs": FROM_1,
    "steps_per_epoch": FROM_1,
    "minutes": ABOVE_0,
    "val_fraction": (lambda value: 0 <= value < 1, "is a share of the cases; give 0 or more and less than 1"),
    "validation_cases": FROM_0,
    "validation_share": ABOVE_0,
    "keep": (lambda value: value in ("last", "best"), "choose last or best"),
    "plateau_patience": FROM_1,
    "patience": FROM_1,
    "min_delta": FROM_0,
    "seed": FROM_0,
    "threads": FROM_1,
    "checkpoint_minutes": FROM_0,
}
UP_TO = {"max_filters", "max_levels", "deep_supervision"}  # limits: a network may well stay below them
OPTIONS = {"lr", "epochs", "minutes", "val_fraction", "patience", "seed", "threads"}  # with a name of their own


@dataclass(frozen=True, kw_only=True)
class Recipe(Choices):
    """Every choice of a training; what it shares with the plan and the network is declared there (`Choices`, `Style`).

    None leaves a choice to the data (see the plan) or switches it off. `from_run`: another RUN whose weights this
    training begins with (`--from`), `start_share` their share in those it ends with. Budget: `minutes` of wall clock
    for the whole command, else `epochs` of `steps_per_epoch` steps (None: one pass over the training cases).
    `patience`: end earlier once so many validations in a row brought no more than `min_delta` of mean Dice. `keep` is
    which weights are used: `last` (the moving average at the end) or `best` (by validation Dice; the report then says
    so).
    """

    name: str = "default"
    from_run: str | None = None
    start_share: float = 0.0
    foreground_share: float = 0.5
    # augmentation
    mirror: str = "auto"
    right_angles: bool = False
    rotation_deg: float = 20.0
    rotation_share: float = 0.3
    scale_low: float = 0.8
    scale_high: float = 1.25
    scale_share: float = 0.3
    elastic_share: float = 0.0
    elastic_strength: float = 1.0
    elastic_cells: int = 3
    smooth_labels: bool = False
    intensity: bool = True
    intensity_strength: float = 1.0
    augment_ramp: float = 0.0  # passes over the cases until augmentation has its full shares
    # optimisation
    loss: str = "dice_ce"
    batch_dice: bool = True
    tversky_beta: float = 0.7
    focal_gamma: float = 2.0
    topk_share: float = 0.1
    optimiser: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1e-2
    schedule: str = "one_cycle"
    lr_end: float = 0.0  # share of the peak rate that the schedule falls to
    clip_norm: float | None = 12.0
    average_decay: float | None = 0.999
    # budget
    epochs: int = 200
    steps_per_epoch: int | None = 250
    minutes: float | None = None
    # validation
    val_fraction: float = 0.2
    fold: int | None = None
    split: str | None = None  # a file with explicit lists
    group: str | None = None  # a pattern or a CSV: which cases must not be parted
    group_by: str | None = None  # the CSV's column
    validation_cases: int = 8
    validation_share: float = 0.1
    keep: str = "last"
    plateau_patience: int = 10
    patience: int | None = None
    min_delta: float = 0.001
    # machine
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    checkpoint_minutes: float | None = None
    input_check: str | None = None  # what predictions look at first: see inference/input_checks.py
    memory_goal_gib: float | None = None  # stay below it where a saving can, though more be free; `--memory` overrules
    deterministic: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, (holds, rule) in RULES.items():
            value = getattr(self, name)
            if value is not None and not holds(value):
                raise ValueError(f"{_option(name)}{_shown(value)}: {rule}")
        if self.fold is not None and not 0 <= self.fold <= (4 if self.split is None else self.fold):
            raise ValueError(f"--fold {self.fold}: the field's standard folds are 0 to 4")
        find_input_check(self.input_check, "--set")
        if not 0 < self.scale_low <= self.scale_high:
            raise ValueError(f"--set scale_low={self.scale_low:g}: must be above 0 and at most scale_high")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any], source: str = "recipe.json") -> Recipe:
        """Reads what `to_json` wrote; unknown or missing names raise ValueError naming `source`."""
        known = {f.name for f in fields(cls)}
        if not isinstance(document, Mapping) or set(document) - known - {CHOSEN}:
            raise ValueError(f"{source}: is not a recipe this version knows; train again")
        try:
            return cls(**{k: _tuples(v) for k, v in document.items() if k != CHOSEN})
        except (TypeError, ValueError, AttributeError, OverflowError) as error:  # another type, or not allowed
            raise ValueError(f"{source}: is not a recipe this version knows ({error}); train again") from None

    def chosen(self) -> tuple[str, ...]:
        """The settings that a person gave: all that are not as the recipe of this name has them."""
        plain = named(self.name)
        return tuple(f.name for f in fields(self) if getattr(self, f.name) != getattr(plain, f.name))

    def with_choices(self, **choices: Any) -> Recipe:
        """The recipe with every choice that is not None in its place."""
        return replace(self, **{k: v for k, v in choices.items() if v is not None})

    def without_minutes(self) -> Recipe:
        """The recipe with a budget in epochs."""
        return replace(self, minutes=None)

    def with_settings(self, settings: Mapping[str, str]) -> Recipe:
        """The recipe with `--set key=value` texts read as the types of their fields; ValueError lists what is known."""
        hints = typing.get_type_hints(Recipe)
        values: dict[str, Any] = {}
        for key, text in settings.items():
            if key not in hints or key == "name":
                raise ValueError(f"--set {key}: no such setting; {_meant(key, sorted(set(hints) - {'name'}))}")
            values[key] = _parsed(key, text, hints[key])
        return replace(self, **values)


def default() -> Recipe:
    """For the best model: nnU-Net's shapes and budget of memory, AdamW with one cycle, weights averaged."""
    return Recipe()


def quick() -> Recipe:
    """For minutes on a laptop's processor: few filters where voxels are many, small patches, a rate that stays high.

    Settings as tried in benchmarks/time-to-accuracy/.
    """
    return Recipe(
        name="quick",
        base_filters=24,
        finest_filters=16,
        decoder_convs=1,
        max_levels=4,
        deep_supervision=0,
        patch_cover=0.85,
        batch_size=2,
        voxels_per_batch=200_000,
        rotation_deg=30.0,
        rotation_share=0.8,
        scale_low=0.7,
        scale_high=1.4,
        scale_share=0.8,
        elastic_share=0.8,
        smooth_labels=True,
        intensity_strength=2.0,
        augment_ramp=120.0,
        lr=3e-3,
        lr_end=0.3,
        members=None,
        weight_decay=0.05,
        average_decay=0.999,
        steps_per_epoch=50,
        minutes=10.0,
        validation_share=0.05,
    )


def original() -> Recipe:
    """Intel's discontinued Keras model: FLAIR, whole tumour, 144^3 crops, batch 8, Adam, -log of the soft Dice.

    Source: the settings of Intel's public 3D U-Net for the Decathlon's brain tumours (IntelAI/unet, 3D).
    """
    return Recipe(
        name="original",
        target="whole",
        channels=("FLAIR",),
        base_filters=16,
        max_filters=256,
        max_levels=5,
        norm="batch",
        nonlinearity="relu",
        downsample="maxpool",
        deep_supervision=0,
        patch=(144, 144, 144),
        batch_size=8,
        foreground_share=0.0,
        mirror="all",
        right_angles=True,
        rotation_share=0.0,
        scale_share=0.0,
        intensity=False,
        loss="log_dice",
        optimiser="adam",
        lr=1e-4,
        weight_decay=0.0,
        schedule="plateau",
        clip_norm=None,
        average_decay=None,
        epochs=40,
        steps_per_epoch=None,
        val_fraction=0.15,
        keep="best",
        plateau_patience=5,
        memory_goal_gib=9.1,  # below 10 GB, a laptop's; without saving it takes 40
    )


RECIPES: dict[str, Callable[[], Recipe]] = {"default": default, "quick": quick, "original": original}


def named(name: str) -> Recipe:
    """The recipe of that name; ValueError lists the names."""
    if name not in RECIPES:
        raise ValueError(f"--recipe {name}: choose one of {', '.join(RECIPES)}")
    return RECIPES[name]()


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _meant(key: str, known: list[str]) -> str:
    """The settings that look like `key`; all of them where none does."""
    key = key.lower().replace("-", "_")
    near = difflib.get_close_matches(key, known, 3, 0.7) or [name for name in known if key in name.split("_")][:8]
    return f"did you mean {' or '.join(near)}?" if near else f"choose among {', '.join(known)}"


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')} " if name in OPTIONS else f"--set {name}="


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _parsed(key: str, text: str, hint: Any) -> Any:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if type(None) in options and text.lower() in ("none", ""):
        return None
    kind = next(o for o in options if o is not type(None))
    try:
        if kind is bool:
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
        if kind in (int, float, str):
            return kind(text)
        inner = typing.get_args(kind)[0]
        if inner not in (int, float, str):  # levels of three numbers: 1x1x1,2x2x1
            return tuple(int3(int(n) for n in part.split("x")) for part in text.replace(",", " ").split())
        values = tuple(inner(part) for part in text.replace(",", " ").split())
        if ... not in typing.get_args(kind) and len(values) != len(typing.get_args(kind)):
            raise ValueError
        return values
    except (KeyError, ValueError):
        name = getattr(kind, "__name__", str(kind))
        raise ValueError(f"--set {key}={text}: the value must be of type {name}") from None
