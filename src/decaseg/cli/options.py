"""Arguments and options that several commands share, and what they become."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

DatasetArgument = Annotated[
    Path, typer.Argument(metavar="DATASET", help="A folder as of Decathlon, nnU-Net, BraTS or BIDS, or a CSV of paths.")
]
ModelArgument = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A RUN, a BUNDLE, a model file inside one, or a name of decaseg models.")
]
LayoutOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Of DATASET: decathlon, nnunet, brats, bids or csv; default: seen.")
]
RecipeOption = Annotated[str, typer.Option(help="Starting point: default, quick or original.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE …", help="Any setting of the recipe.")]
ChannelsOption = Annotated[list[str] | None, typer.Option(metavar="NAME …", help="Channels to use, e.g. FLAIR.")]
TargetOption = Annotated[str | None, typer.Option(help="all, whole, brats or regions (the last two overlap).")]
PatchOption = Annotated[tuple[int, int, int] | None, typer.Option(metavar="X Y Z", help="Patch in voxels.")]
SpacingOption = Annotated[
    tuple[float, float, float] | None, typer.Option(metavar="X Y Z", help="Voxels in mm to resample to.")
]
MemoryOption = Annotated[float | None, typer.Option("--memory", metavar="GIB", help="Memory that training may use.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
EngineOption = Annotated[str | None, typer.Option(help="torch, openvino or onnx; default: what MODEL is for.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="Processor threads; default: one a core.")]
StepOption = Annotated[float, typer.Option(help="Distance between windows, as a share of their length.")]
TtaOption = Annotated[bool, typer.Option("--tta", help="Average over mirrored images (those mirrored in training).")]

CheckOption = Annotated[
    bool, typer.Option("--input-check/--no-input-check", help="Whether images are what MODEL was made for.")
]
CleanOption = Annotated[
    bool, typer.Option("--postprocessing/--no-postprocessing", help="What decaseg postprocess chose for MODEL.")
]
ToleranceOption = Annotated[
    list[str] | None, typer.Option(metavar="MM …", help="What NSD forgives, in mm: 2, or 1=2 liver=3.")
]
LesionsOption = Annotated[
    str | None, typer.Option(help="Lesion-wise scores as BraTS 2023 for: glioma, meningioma or metastases.")
]
GroupsOption = Annotated[Path | None, typer.Option(metavar="FILE.csv", help="A line a case, to score groups by.")]
GroupByOption = Annotated[str | None, typer.Option(metavar="COLUMN", help="Its column, e.g. scanner.")]

PaletteOption = Annotated[str, typer.Option(help="Of pictures: intel, or safe for colour-blind readers.")]
OutlinesOption = Annotated[bool, typer.Option("--outlines", help="Pictures with lines instead of areas.")]
AnimationsOption = Annotated[
    list[str] | None, typer.Option(metavar="KIND …", help="gif, webp, mp4, or none. Default: gif webp.")
]


def chosen_recipe(name: str, settings: list[str] | None, **choices: Any) -> Any:
    """The recipe of that name with `choices` (None: as the recipe has it) and `settings` (key=value)."""
    from decaseg.recipes import named

    pairs: dict[str, str] = {}
    for setting in settings or ():
        key, equals, value = setting.partition("=")
        if not equals:
            raise ValueError(f"--set {setting}: write it as key=value, e.g. --set lr=0.001")
        pairs[key.strip()] = value.strip()
    return named(name).with_choices(**choices).with_settings(pairs)


def not_both(**options: Any) -> None:
    """ValueError where two options are given of which one is enough."""
    if all(value is not None for value in options.values()):
        raise ValueError(f"{' and '.join('--' + name.replace('_', '-') for name in options)}: give one of them")


def score_wishes(tolerance: list[str] | None, lesions: str | None, groups: Path | None, group_by: str | None) -> Any:
    """What is asked of scores besides the usual."""
    from decaseg.workflows.scoring import Wishes

    return Wishes(tuple(tolerance or ()), lesions, groups, group_by)


def wished_look(palette: str, outlines: bool, animations: list[str] | None) -> Any:
    """How pictures of cases are wanted."""
    from decaseg.reporting.look import Look

    if animations is None:
        return Look(palette, outlines)
    return Look(palette, outlines, () if animations == ["none"] else tuple(animations))


def names(words: list[str] | None) -> tuple[str, ...] | None:
    """Words as a tuple; None stays None."""
    return tuple(words) if words else None
