"""Ranks of one training as torchrun starts them, but forked from a warm process; and a launcher that can be killed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.ports import unclaimed_port

LAUNCHER = "tests.faults.ranks:launch"


def environment(size: int) -> list[dict[str, str]]:
    """What torchrun tells each of `size` ranks."""
    common = {"WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1",
              "MASTER_PORT": str(unclaimed_port()), "TORCHELASTIC_RUN_ID": "faults"}  # fmt: skip
    return [common | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(size)]


def launch(pids: str, size: str, *words: str) -> int:
    """Starts the ranks, writes their process numbers to the file `pids`, and waits for them."""
    from decaseg.cli import main

    children = []
    for variables in environment(int(size)):
        child = os.fork()
        if child == 0:
            os.environ.update(variables)
            try:
                main(list(words))
            except SystemExit as ended:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(int(ended.code or 0))
            os._exit(1)
        children.append(child)
    Path(f"{pids}.tmp").write_text(" ".join(map(str, children)))
    Path(f"{pids}.tmp").replace(pids)
    return max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)
