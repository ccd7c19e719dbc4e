"""`decaseg report`: one self-contained page for a RUN or an evaluation."""

from __future__ import annotations

from pathlib import Path

from decaseg.reporting.page import build_report


def run(folder: Path, run: Path | None = None, bundle: Path | None = None, out: Path | None = None) -> int:
    """Writes the page, says where it is, and gives the exit code, 0.

    `folder` is a RUN, an evaluation's folder, or one that holds `run/` and `evaluation/`; `run` and `bundle` name
    what belongs to it and lies elsewhere; `out` is the page's file, `folder/report/index.html` when not given.
    """
    path = build_report(folder, run, bundle, out)
    print(f"report: {path} ({path.stat().st_size / 1e6:.1f} MB)")
    return 0
