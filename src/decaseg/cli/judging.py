"""Predictions, and how good they are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from decaseg.cli.app import app
from decaseg.cli.options import (
    AnimationsOption,
    CheckOption,
    CleanOption,
    DeviceOption,
    EngineOption,
    GroupByOption,
    GroupsOption,
    JsonOption,
    LayoutOption,
    LesionsOption,
    ModelArgument,
    OutlinesOption,
    PaletteOption,
    StepOption,
    ThreadsOption,
    ToleranceOption,
    TtaOption,
    score_wishes,
    wished_look,
)


@app.command()
def evaluate(
    model: ModelArgument,
    data: Annotated[Path, typer.Option(metavar="DATASET", help="Cases with labels.")],
    out: Annotated[Path, typer.Option(help="Evaluation folder.")],
    cases: Annotated[str, typer.Option(help="val (the run's own validation cases) or all.")] = "val",
    engine: EngineOption = None,
    tta: TtaOption = False,
    step: StepOption = 0.5,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    pictures: Annotated[bool, typer.Option("--pictures/--no-pictures", help="Overlays and animations.")] = True,
    palette: PaletteOption = "intel",
    outlines: OutlinesOption = False,
    animations: AnimationsOption = None,
    tolerance: ToleranceOption = None,
    lesions: LesionsOption = None,
    groups: GroupsOption = None,
    group_by: GroupByOption = None,
    postprocessing: CleanOption = True,
    layout: LayoutOption = None,
    as_json: JsonOption = False,
) -> int:
    """Predicts and scores full volumes."""
    from decaseg.workflows import evaluate as workflow

    wishes = score_wishes(tolerance, lesions, groups, group_by)
    look = wished_look(palette, outlines, animations)
    more = look if pictures else None, as_json, wishes, postprocessing, layout
    return workflow.run(model, data, out, cases, engine, tta, step, device, threads, *more)


@app.command()
def draw(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An evaluation folder.")],
    palette: PaletteOption = "intel",
    outlines: OutlinesOption = False,
    animations: AnimationsOption = None,
    again: Annotated[bool, typer.Option("--again", help="Cases that have pictures too.")] = False,
) -> int:
    """Pictures of an evaluation's cases that have none yet."""
    from decaseg.workflows import draw as workflow

    return workflow.run(folder, wished_look(palette, outlines, animations), again)


@app.command()
def postprocess(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished training.")],
    data: Annotated[Path, typer.Option(metavar="DATASET", help="Where its validation cases are.")],
    tta: TtaOption = False,
    step: StepOption = 0.5,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    layout: LayoutOption = None,
    as_json: JsonOption = False,
) -> int:
    """Chooses on the validation cases what is cleaned of predictions, if anything."""
    from decaseg.workflows import postprocess as workflow

    return workflow.run(run, data, tta, step, device, threads, as_json, layout)


@app.command()
def predict(
    model: ModelArgument,
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT …", help="NIfTI or DICOM: files or folders of them.")],
    out: Annotated[Path, typer.Option(help="Folder for <case>.nii.gz.")],
    engine: EngineOption = None,
    tta: TtaOption = False,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Also a probability a structure.")] = False,
    uncertainty: Annotated[bool, typer.Option("--uncertainty", help="Also the entropy, 0 to 1.")] = False,
    others: Annotated[
        list[Path] | None,
        typer.Option("--with", metavar="MODEL", help="Another model to average with; repeatable."),
    ] = None,
    step: StepOption = 0.5,
    device: DeviceOption = "auto",
    precision: Annotated[str, typer.Option(help="Of a RUN: auto, fp32 or bf16.")] = "auto",
    threads: ThreadsOption = None,
    postprocessing: CleanOption = True,
    series: Annotated[
        list[str] | None, typer.Option(metavar="UID", help="DICOM series to use; repeatable, a channel each.")
    ] = None,
    dicom_seg: Annotated[
        bool, typer.Option("--dicom-seg/--no-dicom-seg", help="Of DICOM images: <case>.dcm too.")
    ] = True,
    input_check: CheckOption = True,
) -> int:
    """Label maps for images, on their own grids; goes on where it was stopped."""
    from decaseg.inference.restore import Wanted
    from decaseg.workflows import predict as workflow

    wanted = Wanted(probabilities, uncertainty)
    opening = {"engine": engine, "tta": tta, "step": step, "device": device, "precision": precision,
               "postprocessing": postprocessing, "input_check": input_check}  # fmt: skip
    dicom = workflow.Dicom(tuple(series or ()), dicom_seg)
    return workflow.run(model, inputs, out, opening, wanted, threads, others or (), dicom)


@app.command()
def score(
    predictions: Annotated[Path, typer.Argument(metavar="PREDICTIONS", help="Folder of predicted label maps.")],
    labels_folder: Annotated[Path, typer.Argument(metavar="LABELS", help="Folder of true label maps.")],
    out: Annotated[Path, typer.Option(help="Folder for metrics.json and metrics.csv.")],
    labels: Annotated[list[str] | None, typer.Option(metavar="1=edema …", help="Names of label values.")] = None,
    target: Annotated[str, typer.Option(help="all, whole or brats.")] = "all",
    compare: Annotated[
        Path | None, typer.Option(metavar="PREDICTIONS", help="Another program's folder to compare with, case by case.")
    ] = None,
    tolerance: ToleranceOption = None,
    lesions: LesionsOption = None,
    groups: GroupsOption = None,
    group_by: GroupByOption = None,
    as_json: JsonOption = False,
) -> int:
    """Scores label maps that any program made."""
    from decaseg.workflows import score as workflow

    wishes = score_wishes(tolerance, lesions, groups, group_by)
    return workflow.run(predictions, labels_folder, out, target, tuple(labels or ()), as_json, wishes, compare)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A RUN or an evaluation folder.")],
    run: Annotated[Path | None, typer.Option(help="The RUN it belongs to, if it lies elsewhere.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="An export whose parity record to show.")] = None,
    compare: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Another evaluation of the same cases, case by case.")
    ] = None,
    benchmark: Annotated[Path | None, typer.Option(metavar="DIR", help="What benchmark --out wrote.")] = None,
    out: Annotated[Path | None, typer.Option(help="The page; default: DIR/report/index.html.")] = None,
    viewer: Annotated[bool, typer.Option("--viewer", help="Also 3D pages: worst, median and best case.")] = False,
    viewer_case: Annotated[list[str] | None, typer.Option(metavar="CASE …", help="3D pages of these cases.")] = None,
) -> int:
    """One self-contained page for a RUN or an evaluation."""
    from decaseg.workflows import report as workflow

    return workflow.run(folder, run, bundle, out, compare, benchmark, viewer, tuple(viewer_case or ()))


@app.command()
def view(
    what: Annotated[Path, typer.Argument(metavar="IMAGE|EVALUATION", help="A NIfTI file or an evaluation folder.")],
    prediction: Annotated[Path | None, typer.Option(metavar="FILE", help="Predicted label map of IMAGE.")] = None,
    truth: Annotated[Path | None, typer.Option(metavar="FILE", help="True label map of IMAGE.")] = None,
    labels: Annotated[list[str] | None, typer.Option(metavar="1=edema …", help="Names of label values.")] = None,
    case: Annotated[str | None, typer.Option(metavar="CASE", help="Of EVALUATION, to begin with.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser, or only say where.")] = True,
    terminal: Annotated[bool, typer.Option("--terminal", help="One slice in the terminal instead.")] = False,
    plane: Annotated[str | None, typer.Option(help="Of --terminal: axial, coronal or sagittal.")] = None,
    graphics: Annotated[str, typer.Option(help="Of --terminal: auto, kitty, iterm, sixel or blocks.")] = "auto",
) -> int:
    """Image, prediction and truth in the browser, in slices and in 3D; or a slice in the terminal."""
    from decaseg.workflows import view as workflow

    wishes = workflow.Wishes(prediction, truth, tuple(labels or ()), case)
    return workflow.show_slice(what, wishes, plane, graphics) if terminal else workflow.run(what, wishes, port, browser)
