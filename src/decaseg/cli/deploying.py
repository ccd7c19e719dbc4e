"""Models that leave this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from decaseg.cli.app import app
from decaseg.cli.options import (
    CleanOption,
    DeviceOption,
    EngineOption,
    JsonOption,
    LayoutOption,
    ModelArgument,
    StepOption,
    ThreadsOption,
    TtaOption,
)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished training.")],
    out: Annotated[Path, typer.Option(metavar="BUNDLE", help="Folder the export writes.")],
    model_format: Annotated[str, typer.Option("--format", help="openvino or onnx.")] = "openvino",
    precision: Annotated[str, typer.Option(help="fp32, fp16, bf16 or int8; onnx: fp32 or fp16.")] = "fp32",
    data: Annotated[Path | None, typer.Option(metavar="DATASET", help="Cases for gate and calibration.")] = None,
    threads: ThreadsOption = None,
    max_drop: Annotated[float | None, typer.Option(help="int8: mean Dice that may be lost.  [0.002]")] = None,
    minutes: Annotated[float | None, typer.Option(help="int8: when to give up.  [60]")] = None,
    evaluation: Annotated[Path | None, typer.Option(metavar="DIR", help="Its scores, for the model card.")] = None,
    licence: Annotated[str | None, typer.Option(help="Of the weights, for the model card.")] = None,
    repository: Annotated[
        Path | None,
        typer.Option("--model-repository", metavar="DIR", help="Folder of OpenVINO Model Server to add to."),
    ] = None,
    served_name: Annotated[str | None, typer.Option(help="The model's name there.")] = None,
    layout: LayoutOption = None,
) -> int:
    """A bundle that predicts the same without torch, proved on whole cases."""
    from decaseg.workflows import export as workflow
    from decaseg.workflows.publishing import Publishing

    publishing = Publishing(evaluation, licence, repository, served_name).check(run, out)
    code = workflow.run(run, out, model_format, precision, data, threads, max_drop, minutes, layout)
    return publishing.finish(out, code)


@app.command()
def benchmark(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL …", help="RUNs and BUNDLEs; RUN@fp32, RUN@bf16, RUN@plain for one twice."),
    ],
    data: Annotated[Path | None, typer.Option(metavar="DATASET", help="Score its validation cases too.")] = None,
    image: Annotated[list[Path] | None, typer.Option(metavar="FILE …", help="Whole cases to time on.")] = None,
    per_layer: Annotated[bool, typer.Option("--per-layer", help="Where each network's time goes.")] = False,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each model.")] = 7,
    max_cases: Annotated[int, typer.Option(min=1, help="Of DATASET, at most.")] = 20,
    layout: LayoutOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for benchmark.json and the plot of Dice against time.")
    ] = None,
) -> int:
    """Latency, throughput, memory and Dice of several models side by side."""
    from decaseg.workflows import benchmark as workflow

    wishes = workflow.Wishes(data, tuple(image or ()), per_layer, rounds, max_cases, threads, device, layout)
    return workflow.run(models, wishes, out, as_json)


@app.command()
def models(as_json: JsonOption = False) -> int:
    """The models that ship with the package, and how good they are."""
    from decaseg.workflows import models as workflow

    return workflow.run(as_json)


@app.command()
def serve(
    model: ModelArgument,
    host: Annotated[str, typer.Option(help="Address; beyond loopback only with --token-file.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Holds the token that clients must send; mode 600.")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Another name that clients use for it; repeatable.")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(metavar="PEM", help="Certificate, for HTTPS.")] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="PEM", help="Its key.")] = None,
    spool: Annotated[Path | None, typer.Option(metavar="DIR", help="Private folder for images at work.")] = None,
    queue: Annotated[int, typer.Option(help="Images that may wait.")] = 8,
    max_upload: Annotated[float, typer.Option(metavar="MIB", help="Of an upload.")] = 512,
    max_image: Annotated[float, typer.Option(metavar="MIB", help="Of an image, inflated.")] = 2048,
    time_limit: Annotated[float, typer.Option(metavar="S", help="Of a prediction.")] = 600,
    keep: Annotated[float, typer.Option(metavar="S", help="Results that nobody deletes.")] = 900,
    grace: Annotated[float, typer.Option(metavar="S", help="For a running prediction at shutdown.")] = 30,
    engine: EngineOption = None,
    tta: TtaOption = False,
    step: StepOption = 0.5,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    postprocessing: CleanOption = True,
) -> int:
    """Predictions over HTTP, for programs, browsers and 3D Slicer."""
    from decaseg.workflows import serve as workflow

    opening = {"engine": engine, "tta": tta, "step": step, "device": device, "threads": threads,
               "postprocessing": postprocessing}  # fmt: skip
    where = host, port, tls_cert, tls_key
    limits = {"upload_mib": max_upload, "image_mib": max_image, "queue": queue, "job_s": time_limit, "kept_s": keep,
              "grace_s": grace}  # fmt: skip
    return workflow.run(model, opening, where, limits, token_file, allow_host or (), spool)
