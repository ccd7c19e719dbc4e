"""The command line: arguments in, exit code out. Heavy things are imported by the command that needs them."""

from __future__ import annotations

import os
import sys
import traceback
from functools import cache
from typing import Any

import typer

from decaseg.arguments import one_line, spread
from decaseg.cli.app import app

# --help lists the commands in the order in which these are imported.
# isort: off
from decaseg.cli import learning  # noqa: F401
from decaseg.cli import judging  # noqa: F401
from decaseg.cli import deploying  # noqa: F401
from decaseg.cli import importing  # noqa: F401

INTERRUPTED = 130
SPINS = "3000"


def main(argv: list[str] | None = None) -> None:
    """Runs one command and exits with the contract's code: 0 done, 1 the answer is no, 2 bad input, 130 interrupted."""
    words = sys.argv[1:] if argv is None else argv
    share_the_processor()
    if "WORLD_SIZE" not in os.environ:  # set by torchrun
        raise SystemExit(call(words))
    try:
        code = call(words)
    except Exception:
        traceback.print_exc()
        code = 1
    from decaseg.training.distributed import leave

    leave(code)


def share_the_processor() -> None:
    """Lets torch's threads sleep soon when they wait for each other, unless the environment says otherwise.

    By default they turn for milliseconds, and two programs on the same cores take ten times as long instead of twice
    (docs/decisions/0015). Heard only before torch is imported.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


@cache
def _command() -> Any:
    """The application as click has it; to build it takes longer than many a command."""
    return typer.main.get_command(app)


def call(argv: list[str]) -> int:
    """Runs one command and returns its exit code; bad input becomes one line on standard error."""
    debug = "--debug" in argv
    words = spread([word for word in argv if word != "--debug"])
    try:
        result = _command().main(words, prog_name="decaseg", standalone_mode=False)
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
