"""Models that leave this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from decaseg.cli.app import app
from decaseg.cli.options import DeviceOption, JsonOption, ThreadsOption


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished training.")],
    out: Annotated[Path, typer.Option(metavar="BUNDLE", help="Folder the export writes.")],
    model_format: Annotated[str, typer.Option("--format", help="openvino or onnx.")] = "openvino",
    precision: Annotated[str, typer.Option(help="fp32, fp16, bf16 or int8; onnx: fp32 or fp16.")] = "fp32",
    data: Annotated[Path | None, typer.Option(metavar="DATASET", help="Cases for the parity gate.")] = None,
    threads: ThreadsOption = None,
    evaluation: Annotated[Path | None, typer.Option(metavar="DIR", help="Its scores, for the model card.")] = None,
    licence: Annotated[str | None, typer.Option(help="Of the weights, for the model card.")] = None,
    repository: Annotated[
        Path | None,
        typer.Option("--model-repository", metavar="DIR", help="Folder of OpenVINO Model Server to add to."),
    ] = None,
    served_name: Annotated[str | None, typer.Option(help="The model's name there.")] = None,
) -> int:
    """A bundle that predicts the same without torch, proved on whole cases."""
    from decaseg.workflows import export as workflow
    from decaseg.workflows.publishing import Publishing

    publishing = Publishing(evaluation, licence, repository, served_name).check(run, out)
    return publishing.finish(out, workflow.run(run, out, model_format, precision, data, threads))


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
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for benchmark.json and the plot of Dice against time.")
    ] = None,
) -> int:
    """Latency, throughput, memory and Dice of several models side by side."""
    from decaseg.workflows import benchmark as workflow

    wishes = workflow.Wishes(data, tuple(image or ()), per_layer, rounds, max_cases, threads, device)
    return workflow.run(models, wishes, out, as_json)
