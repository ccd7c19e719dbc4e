"""`decaseg check`: every problem that would spoil a training, one line each."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from decaseg.planning import check
from decaseg.reporting.progress import progress
from decaseg.storage.layouts import read_dataset


def run(dataset: Path, as_json: bool = False, threads: int | None = None, layout: str | None = None) -> int:
    """Prints the problems of a data set on standard output and returns 1 where one is an error, else 0.

    With `as_json`: one document, {"dataset", "layout", "cases", "problems": [{"file", "fault", "fix", "severity"}]}.
    Progress and the closing sentence go to standard error. ValueError where there is no data set at all.
    """
    if threads is not None and threads < 1:
        raise ValueError(f"--threads {threads}: at least one thread is needed; leave it out for one a core")
    read = read_dataset(dataset, layout)
    print("; ".join((read.described, *read.remarks)), file=sys.stderr)
    with progress("checking cases", lines=True) as advance:
        found = list(check.problems(read, threads, advance))
    errors = sum(problem.severity == "error" for problem in found)
    if as_json:
        listed = [{"file": str(p.file), "fault": p.fault, "fix": p.fix, "severity": p.severity} for p in found]
        document = {"dataset": str(dataset), "layout": read.layout, "cases": len(read.training), "problems": listed}
        print(json.dumps(document, indent=1))
    else:
        for problem in found:
            print(problem)
    warnings = len(found) - errors
    print(
        f"{dataset}: {_count(len(read.training), 'case')} checked, {_count(errors, 'error')}, "
        f"{_count(warnings, 'warning')}",
        file=sys.stderr,
    )
    return 1 if errors else 0


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
