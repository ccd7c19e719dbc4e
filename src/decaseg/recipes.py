"""What a person chooses, with three starting points: `default()`, `quick()` and `original()`."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """Every choice of a training. None leaves it to the data (see the plan) or switches it off.

    Budget: `minutes` of wall clock for the whole command, else `epochs` of `steps_per_epoch` steps (None: one pass
    over the training cases). `keep` is which weights are used: `last` (the moving average at the end; validation
    chose nothing) or `best` (by validation Dice; the report then says so).
    """

    name: str = "default"
    # what to outline, from what
    target: str = "all"
    channels: tuple[str, ...] | None = None
    # network
    base_filters: int = 32
    max_filters: int = 320
    max_levels: int = 6
    convs: int = 2
    norm: str = "instance"
    nonlinearity: str = "leaky_relu"
    downsample: str = "stride"
    residual: bool = False
    dropout: float = 0.0
    deep_supervision: int = 2
    # patches
    patch: tuple[int, int, int] | None = None
    batch_size: int | None = None
    voxels_per_batch: int = 4_200_000
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
    intensity: bool = True
    intensity_strength: float = 1.0
    # optimisation
    loss: str = "dice_ce"
    optimiser: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1e-2
    schedule: str = "one_cycle"
    clip_norm: float | None = 12.0
    average_decay: float | None = 0.999
    # budget
    epochs: int = 200
    steps_per_epoch: int | None = 250
    minutes: float | None = None
    # validation
    val_fraction: float = 0.2
    fold: int | None = None
    validation_cases: int = 8
    validation_share: float = 0.1
    keep: str = "last"
    plateau_patience: int = 10
    # machine
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    deterministic: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any], source: str = "recipe.json") -> Recipe:
        """Reads what `to_json` wrote; unknown or missing names raise ValueError naming `source`."""
        known = {f.name for f in fields(cls)}
        if not isinstance(document, Mapping) or set(document) - known:
            raise ValueError(f"{source}: is not a recipe this version knows; train again")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in document.items()}
        return cls(**values)

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
                raise ValueError(
                    f"--set {key}: no such setting; choose among {', '.join(sorted(set(hints) - {'name'}))}"
                )
            values[key] = _parsed(key, text, hints[key])
        return replace(self, **values)


def default() -> Recipe:
    """For the best model: nnU-Net's shapes and budget of memory, AdamW with one cycle, weights averaged."""
    return Recipe()


def quick() -> Recipe:
    """For minutes on a laptop's processor: 16 filters, small patches, one cycle to a high rate."""
    return Recipe(
        name="quick",
        base_filters=16,
        max_levels=4,
        deep_supervision=0,
        voxels_per_batch=200_000,
        rotation_share=0.4,
        scale_share=0.4,
        lr=3e-3,
        average_decay=0.99,
        steps_per_epoch=50,
        minutes=10.0,
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
    )


RECIPES: dict[str, Callable[[], Recipe]] = {"default": default, "quick": quick, "original": original}


def named(name: str) -> Recipe:
    """The recipe of that name; ValueError lists the names."""
    if name not in RECIPES:
        raise ValueError(f"--recipe {name}: choose one of {', '.join(RECIPES)}")
    return RECIPES[name]()


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
        values = tuple(inner(part) for part in text.replace(",", " ").split())
        if ... not in typing.get_args(kind) and len(values) != len(typing.get_args(kind)):
            raise ValueError
        return values
    except (KeyError, ValueError):
        name = getattr(kind, "__name__", str(kind))
        raise ValueError(f"--set {key}={text}: the value must be of type {name}") from None
