"""The application that the modules beside this one add their commands to."""

from __future__ import annotations

import typer

app = typer.Typer(
    name="decaseg",
    help="Trains, judges, shows and deploys 3D U-Nets on Medical Segmentation Decathlon data. Start with: decaseg demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
