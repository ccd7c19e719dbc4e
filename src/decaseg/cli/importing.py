"""Models that other programs trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from decaseg.cli.app import app
from decaseg.cli.options import LayoutOption

models = typer.Typer(name="import", help="Takes over models that other programs trained.")
app.add_typer(models)


@models.callback()
def group() -> None:
    """Takes over models that other programs trained."""  # without a callback the only command would be the group


@models.command()
def keras(
    file: Annotated[Path, typer.Argument(metavar="FILE.hdf5", help="What Keras' save or save_weights wrote.")],
    out: Annotated[Path, typer.Option(metavar="RUN", help="New folder for the RUN.")],
    data: Annotated[
        Path | None, typer.Option(metavar="DATASET", help="What it was trained on: channels, labels, axes and split.")
    ] = None,
    patch: Annotated[
        tuple[int, int, int] | None,
        typer.Option(metavar="H W D", help="Crop it was trained with; default: the file's, else 144 144 144."),
    ] = None,
    quarter_turn: Annotated[
        bool | None, typer.Option("--rot90/--no-rot90", help="Whether images were turned; default: as the file tells.")
    ] = None,
    layout: LayoutOption = None,
) -> int:
    """A RUN from a model of Intel's discontinued 3D U-Net scripts (IntelAI/unet)."""
    from decaseg.workflows import import_keras as workflow

    return workflow.run(file, out, data, patch, quarter_turn, layout)
