"""From data to a trained network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from decaseg.cli.app import app
from decaseg.cli.options import (
    ChannelsOption,
    DatasetArgument,
    DeviceOption,
    GroupByOption,
    JsonOption,
    LayoutOption,
    MemoryOption,
    PatchOption,
    RecipeOption,
    SetOption,
    SpacingOption,
    TargetOption,
    ThreadsOption,
    chosen_recipe,
    names,
    not_both,
)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where everything lands.")] = Path("demo"),
    minutes: Annotated[float, typer.Option(help="Minutes of training.")] = 3.0,
    cases: Annotated[int, typer.Option(min=8, help="Cases to generate.")] = 24,
    spacing_mm: Annotated[float, typer.Option("--spacing", metavar="MM", help="Voxel size.")] = 2.0,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, other patients.")] = 0,
) -> int:
    """The whole loop on generated brain tumours: data, check, train, evaluate, export, report."""
    from decaseg.workflows import demo as workflow

    return workflow.run(out, minutes, cases, seed, spacing_mm)


@app.command()
def doctor(as_json: JsonOption = False) -> int:
    """What this machine is, which engines and precisions work, and how fast."""
    from decaseg.workflows import doctor as workflow

    return workflow.run(as_json)


@app.command()
def download(
    task: Annotated[str, typer.Argument(metavar="TASK", help="Task04_Hippocampus, 4 or hippocampus.")],
    root: Annotated[Path, typer.Option(metavar="DIR", help="Folder in which TaskNN_Name is made.")],
    url: Annotated[str | None, typer.Option(help="Another address of a .tar or .tar.gz.")] = None,
    archive: Annotated[Path | None, typer.Option(metavar="FILE", help="An archive that is here already.")] = None,
    md5: Annotated[str | None, typer.Option(help="MD5 that the archive must have.")] = None,
    sha256: Annotated[str | None, typer.Option(help="SHA-256 that the archive must have.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Fetch it even if it is there; keeps the old one.")] = False,
    timeout: Annotated[float, typer.Option(min=1, metavar="S", help="Seconds without a byte before a cut.")] = 30.0,
    retries: Annotated[int, typer.Option(min=0, max=100, help="Failures in a row to bear.")] = 5,
) -> int:
    """Fetches one of the ten Decathlon data sets: resumes, verifies, unpacks safely."""
    from decaseg.storage.fetch import Patience
    from decaseg.workflows import download as workflow

    patience = Patience(timeout_s=timeout, retries=retries)
    return workflow.run(task, root, url, md5, sha256, force, patience, archive)


@app.command()
def check(
    dataset: DatasetArgument,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail too.")] = False,
    fix: Annotated[Path | None, typer.Option(metavar="OUT", help="Write a mended copy to this new folder.")] = None,
    manifest: Annotated[
        Path | None, typer.Option(metavar="FILE", help="SHA-256 sums: written if not there, else compared.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Print every line, however many are alike.")] = False,
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help="Believe an earlier check of same files.")] = True,
    as_json: JsonOption = False,
    threads: ThreadsOption = None,
    layout: LayoutOption = None,
) -> int:
    """Every problem that would spoil a training, one line each."""
    from decaseg.storage.remembered import user_cache
    from decaseg.workflows import check as workflow

    wishes = workflow.Wishes(strict, everything, fix, manifest, user_cache() / "check" if cache else None)
    return workflow.run(dataset, as_json, threads, wishes, layout)


@app.command()
def plan(
    dataset: DatasetArgument,
    out: Annotated[Path | None, typer.Option(help="Folder for fingerprint.json and plan.json.")] = None,
    memory: MemoryOption = None,
    recipe: RecipeOption = "default",
    channels: ChannelsOption = None,
    target: TargetOption = None,
    spacing: SpacingOption = None,
    patch: PatchOption = None,
    batch_size: Annotated[int | None, typer.Option(min=1)] = None,
    base_filters: Annotated[int | None, typer.Option(min=1)] = None,
    settings: SetOption = None,
    layout: LayoutOption = None,
    as_json: JsonOption = False,
) -> int:
    """The fingerprint of the data and the plan that follows from it."""
    from decaseg.workflows import plan as workflow

    chosen = chosen_recipe(
        recipe, settings, channels=names(channels), target=target, spacing_mm=spacing, patch=patch,
        batch_size=batch_size, base_filters=base_filters,
    )  # fmt: skip
    return workflow.run(dataset, chosen, out, memory, as_json, layout)


@app.command()
def train(
    dataset: DatasetArgument,
    out: Annotated[Path, typer.Option(metavar="RUN", help="Folder the training writes.")],
    recipe: RecipeOption = "default",
    settings: SetOption = None,
    channels: ChannelsOption = None,
    target: TargetOption = None,
    spacing: SpacingOption = None,
    patch: PatchOption = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Patches a step.")] = None,
    base_filters: Annotated[int | None, typer.Option(min=1, help="Filters of the finest level.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs to train (instead of minutes).")] = None,
    minutes: Annotated[float | None, typer.Option(help="Minutes the whole command may take.")] = None,
    patience: Annotated[int | None, typer.Option(metavar="N", help="End after N validations without progress.")] = None,
    val_fraction: Annotated[float | None, typer.Option(help="Share of cases kept for validation.")] = None,
    fold: Annotated[int | None, typer.Option(help="Fold 0 to 4 of the field's standard five.")] = None,
    split: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Lists of cases; or nnU-Net's folds.")] = None,
    group: Annotated[
        str | None, typer.Option(metavar="PATTERN|CSV", help="Which cases are one patient's and stay together.")
    ] = None,
    group_by: GroupByOption = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything random.")] = None,
    device: DeviceOption = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    threads: ThreadsOption = None,
    deterministic: Annotated[bool, typer.Option("--deterministic", help="Bit-equal on the same machine.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training in RUN.")] = False,
    start: Annotated[
        Path | None, typer.Option("--from", metavar="RUN", help="Begin with that training's weights (fine-tuning).")
    ] = None,
    memory: MemoryOption = None,
    cache: Annotated[Path | None, typer.Option(help="Folder for preprocessed cases; default: RUN/cache.")] = None,
    layout: LayoutOption = None,
) -> int:
    """Trains a network; writes a RUN."""
    from decaseg.workflows import resuming

    resuming.refuse_where_taken(out)  # before the seconds that torch takes to be imported
    from decaseg.workflows import train as workflow

    not_both(epochs=epochs, minutes=minutes)
    not_both(val_fraction=val_fraction, fold=fold)
    not_both(val_fraction=val_fraction, split=split)
    chosen = chosen_recipe(
        recipe, settings, channels=names(channels), target=target, spacing_mm=spacing, patch=patch,
        batch_size=batch_size, base_filters=base_filters, lr=lr, epochs=epochs, minutes=minutes, patience=patience,
        val_fraction=val_fraction, fold=fold, split=str(split) if split else None, group=group, group_by=group_by,
        seed=seed, device=device, precision=precision, threads=threads, deterministic=deterministic or None,
        from_run=str(start) if start else None,
    )  # fmt: skip
    if epochs is not None:
        chosen = chosen.without_minutes()
    return workflow.run(dataset, out, chosen, resume, memory, cache, layout)
