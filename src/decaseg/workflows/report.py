"""`decaseg report`: one self-contained page for a RUN or an evaluation, and pages with the 3D viewer beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from decaseg.reporting.amounts import amount
from decaseg.reporting.material import Beside
from decaseg.reporting.page import build_report


def run(
    folder: Path,
    run: Path | None = None,
    bundle: Path | None = None,
    out: Path | None = None,
    compare: Path | None = None,
    benchmark: Path | None = None,
    viewer: bool = False,
    viewer_cases: Sequence[str] = (),
) -> int:
    """Writes the page, says where it is, and gives the exit code, 0.

    `folder` is a RUN, an evaluation's folder, or one that holds `run/` and `evaluation/`; `run`, `bundle` and
    `benchmark` (the folder that benchmark --out wrote) name what belongs to it and lies elsewhere, `compare` another
    evaluation of the same cases; `out` is the page's file, `folder/report/index.html` when not given. `viewer` writes
    `view/<case>.html` beside it for the worst, the median and the best case, `viewer_cases` for these.
    """
    if out is not None and out.is_dir():
        raise ValueError(f"--out {out}: is a folder; name the page's file, such as {out / 'index.html'}")
    path = out or folder / "report" / "index.html"
    links = _case_pages(folder, path.parent / "view", viewer_cases) if viewer or viewer_cases else {}
    path = build_report(folder, Beside(run, bundle, benchmark, compare), out, links)
    print(f"report: {path} ({amount(path.stat().st_size)})")
    for case, link in links.items():
        page = path.parent / link
        print(f"in 3D, {case}: {page} ({amount(page.stat().st_size)})")
    return 0


def _case_pages(folder: Path, to: Path, wanted: Sequence[str]) -> Mapping[str, str]:
    """Case -> its page's address as seen from the report."""
    from decaseg.reporting.viewer.case_page import write_case_pages
    from decaseg.workflows.view import Wishes, gather

    exhibition = gather(folder, Wishes())
    there = [case.name for case in exhibition.cases]
    if missing := [case for case in wanted if case not in there]:
        raise ValueError(f"--viewer-case {missing[0]}: is not in {folder}; there are {', '.join(there[:8])}")
    chosen = tuple(wanted) or (there[0], there[len(there) // 2], there[-1])  # worst, median and best, as on the page
    return {case: f"view/{name}" for case, name in write_case_pages(to, exhibition, chosen).items()}
