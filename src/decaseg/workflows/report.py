"""`decaseg report`: one self-contained page for a RUN or an evaluation."""

from __future__ import annotations

from pathlib import Path

from decaseg.reporting.material import Beside
from decaseg.reporting.page import build_report
from decaseg.reporting.words import amount


def run(
    folder: Path,
    run: Path | None = None,
    bundle: Path | None = None,
    out: Path | None = None,
    compare: Path | None = None,
    benchmark: Path | None = None,
) -> int:
    """Writes the page, says where it is, and gives the exit code, 0.

    `folder` is a RUN, an evaluation's folder, or one that holds `run/` and `evaluation/`; `run`, `bundle` and
    `benchmark` (the folder that benchmark --out wrote) name what belongs to it and lies elsewhere, `compare` another
    evaluation of the same cases; `out` is the page's file, `folder/report/index.html` when not given.
    """
    if out is not None and out.is_dir():
        raise ValueError(f"--out {out}: is a folder; name the page's file, such as {out / 'index.html'}")
    path = build_report(folder, Beside(run, bundle, benchmark, compare), out)
    print(f"report: {path} ({amount(path.stat().st_size)})")
    return 0
