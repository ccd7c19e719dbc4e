"""Models that leave this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from decaseg.cli.app import app
from decaseg.cli.options import ThreadsOption


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
) -> int:
    """A bundle that predicts the same without torch, proved on whole cases."""
    from decaseg.workflows import export as workflow

    return workflow.run(run, out, model_format, precision, data, threads, max_drop, minutes)
