"""The command line: arguments in, exit code out. Heavy things are imported by the command that needs them."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

from decaseg.arguments import one_line, spread

app = typer.Typer(
    name="decaseg",
    help="Trains, judges, shows and deploys 3D U-Nets on Medical Segmentation Decathlon data. Start with: decaseg demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

INTERRUPTED = 130

DatasetArgument = Annotated[
    Path, typer.Argument(metavar="DATASET", help="Folder with dataset.json (Decathlon layout).")
]
ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL", help="A RUN, a BUNDLE or a model file inside one.")]
RecipeOption = Annotated[str, typer.Option(help="Starting point: default, quick or original.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE …", help="Any setting of the recipe.")]
ChannelsOption = Annotated[list[str] | None, typer.Option(metavar="NAME …", help="Channels to use, e.g. FLAIR.")]
TargetOption = Annotated[str | None, typer.Option(help="all, whole or brats (overlapping regions).")]
PatchOption = Annotated[tuple[int, int, int] | None, typer.Option(metavar="X Y Z", help="Patch in voxels.")]
MemoryOption = Annotated[float | None, typer.Option("--memory", metavar="GIB", help="Memory that training may use.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
EngineOption = Annotated[str | None, typer.Option(help="torch, openvino or onnx; default: what MODEL is for.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="Processor threads; default: one a core.")]
StepOption = Annotated[float, typer.Option(help="Distance between windows, as a share of their length.")]
TtaOption = Annotated[bool, typer.Option("--tta", help="Average over mirrored images (those mirrored in training).")]

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
def check(dataset: DatasetArgument, as_json: JsonOption = False, threads: ThreadsOption = None) -> int:
    """Every problem that would spoil a training, one line each."""
    from decaseg.workflows import check as workflow

    return workflow.run(dataset, as_json, threads)


@app.command()
def plan(
    dataset: DatasetArgument,
    out: Annotated[Path | None, typer.Option(help="Folder for fingerprint.json and plan.json.")] = None,
    memory: MemoryOption = None,
    recipe: RecipeOption = "default",
    channels: ChannelsOption = None,
    target: TargetOption = None,
    patch: PatchOption = None,
    batch_size: Annotated[int | None, typer.Option(min=1)] = None,
    base_filters: Annotated[int | None, typer.Option(min=1)] = None,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> int:
    """The fingerprint of the data and the plan that follows from it."""
    from decaseg.workflows import plan as workflow

    chosen = _recipe(recipe, settings, channels=_names(channels), target=target, patch=patch, batch_size=batch_size,
                     base_filters=base_filters)  # fmt: skip
    return workflow.run(dataset, chosen, out, memory, as_json)


@app.command()
def train(
    dataset: DatasetArgument,
    out: Annotated[Path, typer.Option(metavar="RUN", help="Folder the training writes.")],
    recipe: RecipeOption = "default",
    settings: SetOption = None,
    channels: ChannelsOption = None,
    target: TargetOption = None,
    patch: PatchOption = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Patches a step.")] = None,
    base_filters: Annotated[int | None, typer.Option(min=1, help="Filters of the finest level.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs to train (instead of minutes).")] = None,
    minutes: Annotated[float | None, typer.Option(help="Minutes the whole command may take.")] = None,
    patience: Annotated[int | None, typer.Option(metavar="N", help="End after N validations without progress.")] = None,
    val_fraction: Annotated[float | None, typer.Option(help="Share of cases kept for validation.")] = None,
    fold: Annotated[int | None, typer.Option(help="Fold 0 to 4 of the field's standard five.")] = None,
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
) -> int:
    """Trains a network; writes a RUN."""
    from decaseg.workflows import train as workflow

    if epochs is not None and minutes is not None:
        raise ValueError("--epochs and --minutes: give one of them")
    chosen = _recipe(
        recipe, settings, channels=_names(channels), target=target, patch=patch, batch_size=batch_size,
        base_filters=base_filters, lr=lr, epochs=epochs, minutes=minutes, patience=patience,
        val_fraction=val_fraction, fold=fold,
        seed=seed, device=device, precision=precision, threads=threads, deterministic=deterministic or None,
        from_run=str(start.resolve()) if start else None,
    )  # fmt: skip
    if epochs is not None:
        chosen = chosen.without_minutes()
    return workflow.run(dataset, out, chosen, resume, memory, cache)


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
    tolerance: ToleranceOption = None,
    lesions: LesionsOption = None,
    groups: GroupsOption = None,
    group_by: GroupByOption = None,
    postprocessing: CleanOption = True,
    as_json: JsonOption = False,
) -> int:
    """Predicts and scores full volumes."""
    from decaseg.workflows import evaluate as workflow

    wishes = _wishes(tolerance, lesions, groups, group_by)
    more = pictures, as_json, wishes, postprocessing
    return workflow.run(model, data, out, cases, engine, tta, step, device, threads, *more)


@app.command()
def postprocess(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished training.")],
    data: Annotated[Path, typer.Option(metavar="DATASET", help="Where its validation cases are.")],
    tta: TtaOption = False,
    step: StepOption = 0.5,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> int:
    """Chooses on the validation cases what is cleaned of predictions, if anything."""
    from decaseg.workflows import postprocess as workflow

    return workflow.run(run, data, tta, step, device, threads, as_json)


@app.command()
def predict(
    model: ModelArgument,
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT …", help="NIfTI files or folders of them.")],
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
) -> int:
    """Label maps for images, on their own grids; goes on where it was stopped."""
    from decaseg.inference.restore import Wanted
    from decaseg.workflows import predict as workflow

    wanted = Wanted(probabilities, uncertainty)
    opening = {"engine": engine, "tta": tta, "step": step, "device": device, "precision": precision,
               "postprocessing": postprocessing}  # fmt: skip
    return workflow.run(model, inputs, out, opening, wanted, threads, others or ())


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

    wishes = _wishes(tolerance, lesions, groups, group_by)
    return workflow.run(predictions, labels_folder, out, target, tuple(labels or ()), as_json, wishes, compare)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A RUN or an evaluation folder.")],
    run: Annotated[Path | None, typer.Option(help="The RUN it belongs to, if it lies elsewhere.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="An export whose parity record to show.")] = None,
    out: Annotated[Path | None, typer.Option(help="The page; default: DIR/report/index.html.")] = None,
) -> int:
    """One self-contained page for a RUN or an evaluation."""
    from decaseg.workflows import report as workflow

    return workflow.run(folder, run, bundle, out)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished training.")],
    out: Annotated[Path, typer.Option(metavar="BUNDLE", help="Folder the export writes.")],
    model_format: Annotated[str, typer.Option("--format", help="openvino or onnx.")] = "openvino",
    precision: Annotated[str, typer.Option(help="Weights in fp32 or fp16.")] = "fp32",
    data: Annotated[Path | None, typer.Option(metavar="DATASET", help="Cases for the parity gate.")] = None,
    threads: ThreadsOption = None,
) -> int:
    """A bundle that predicts the same without torch, proved on whole cases."""
    from decaseg.workflows import export as workflow

    return workflow.run(run, out, model_format, precision, data, threads)


def main(argv: list[str] | None = None) -> None:
    """Runs one command and exits with the contract's code: 0 done, 1 the answer is no, 2 bad input, 130 interrupted."""
    words = sys.argv[1:] if argv is None else argv
    if "WORLD_SIZE" not in os.environ:  # set by torchrun
        raise SystemExit(call(words))
    try:
        code = call(words)
    except Exception:
        traceback.print_exc()
        code = 1
    from decaseg.training.distributed import leave

    leave(code)


def call(argv: list[str]) -> int:
    """Runs one command and returns its exit code; bad input becomes one line on standard error."""
    debug = "--debug" in argv
    words = spread([word for word in argv if word != "--debug"])
    try:
        result = typer.main.get_command(app).main(words, prog_name="decaseg", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if debug:
            raise
        line = one_line(error)
        if line is None:
            raise
        print(line, file=sys.stderr)
        return 2


def _recipe(name: str, settings: list[str] | None, **choices: Any) -> Any:
    from decaseg.recipes import named

    pairs: dict[str, str] = {}
    for setting in settings or ():
        key, equals, value = setting.partition("=")
        if not equals:
            raise ValueError(f"--set {setting}: write it as key=value, e.g. --set lr=0.001")
        pairs[key.strip()] = value.strip()
    return named(name).with_choices(**choices).with_settings(pairs)


def _wishes(tolerance: list[str] | None, lesions: str | None, groups: Path | None, group_by: str | None) -> Any:
    from decaseg.workflows.scoring import Wishes

    return Wishes(tuple(tolerance or ()), lesions, groups, group_by)


def _names(words: list[str] | None) -> tuple[str, ...] | None:
    return tuple(words) if words else None


if __name__ == "__main__":
    main()
