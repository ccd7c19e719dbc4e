"""`decaseg check`: every problem that would spoil a training, one line each."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from decaseg import geometry, volume
from decaseg.planning import check
from decaseg.planning.checks import measure
from decaseg.planning.checks.problem import Problem, count
from decaseg.reporting.problems import lines
from decaseg.reporting.progress import progress
from decaseg.storage import manifest, nifti, nifti_place, stream
from decaseg.storage.dataset import Dataset
from decaseg.storage.layouts import read_dataset
from decaseg.storage.remembered import Remembered
from decaseg.workflows import mending


@dataclass(frozen=True)
class Wishes:
    """What is asked of a check besides the problems.

    `strict`: warnings fail too. `everything`: no line is left out. `fix`: folder for a mended copy. `manifest`: file of
    SHA-256 sums, written where it is not there, else compared. `cache`: folder to remember measurements in.
    """

    strict: bool = False
    everything: bool = False
    fix: Path | None = None
    manifest: Path | None = None
    cache: Path | None = None


def run(
    dataset: Path,
    as_json: bool = False,
    threads: int | None = None,
    wishes: Wishes | None = None,
    layout: str | None = None,
) -> int:
    """Prints the problems of a data set on standard output and returns 1 where one is an error, else 0.

    With `as_json`: one document, {"dataset", "layout", "cases", "problems": [{"file", "fault", "fix", "severity",
    "rule"}]}.
    Progress and the closing sentence go to standard error. With `wishes.fix` the answer is whether the mended copy
    holds every case and is without errors. ValueError where there is no data set at all.
    """
    wishes = wishes or Wishes()
    if threads is not None and threads < 1:
        raise ValueError(f"--threads {threads}: at least one thread is needed; leave it out for one a core")
    if wishes.fix is not None:
        mending.refuse_place(dataset, wishes.fix)
    read = read_dataset(dataset, layout)
    print("; ".join((read.described, *read.remarks)), file=sys.stderr)
    compared = _against_manifest(dataset, wishes.manifest, threads) if wishes.manifest is not None else []
    remembered = Remembered(wishes.cache, code_sum()) if wishes.cache is not None else None
    with progress("checking cases", lines=True) as advance:
        survey = check.take_survey(read, threads, advance, remembered)
    found = check.worst_first([*compared, *check.judged(survey)])
    if remembered is not None:
        remembered.sweep()
    mended = None
    if wishes.fix is not None:
        with progress("mending cases", lines=True) as advance:
            mended = mending.mend(survey, wishes.fix, threads, advance)
    return _tell(read, dataset, found, mended, as_json, wishes)


def code_sum() -> str:
    """A hash of the code that measures, and of numpy: what other code measured is not believed."""
    modules = (measure, nifti, nifti_place, stream, geometry, volume)
    parts = [Path(module.__file__).read_bytes() for module in modules if module.__file__]
    return hashlib.sha256(b"\0".join([*parts, np.__version__.encode()])).hexdigest()


def _against_manifest(root: Path, file: Path, threads: int | None) -> list[Problem]:
    """The manifest's objections; where there is no such file yet, it is written."""
    then = manifest.read_manifest(file) if file.exists() else None
    with progress("hashing files", lines=True) as advance:
        now, unreadable = manifest.sums_of(root, file, threads or 2, advance)
    if then is None:
        if unreadable:
            raise ValueError(f"{root / unreadable[0]}: cannot be read; mend that before a manifest is written")
        manifest.write_manifest(file, now)
        print(f"{file}: wrote the SHA-256 sums of {count(len(now), 'file')}", file=sys.stderr)
        return []
    apart = manifest.compare(then, now, unreadable)
    if apart == manifest.Difference((), (), (), ()):
        print(f"{file}: all {count(len(then), 'file')} as they were", file=sys.stderr)
    restore = "restore it, or delete the manifest to have it written anew"
    kinds = (
        (apart.changed, f"is not what it was when {file.name} was written", restore),
        (apart.missing, f"stands in {file.name}, but is not there", restore),
        (apart.new, f"does not stand in {file.name}", "take it away, or delete the manifest to have it written anew"),
        (apart.unreadable, "cannot be read, so that it cannot be compared", "check its permissions and the disk"),
    )
    return [Problem(root / name, fault, fix, rule="manifest") for names, fault, fix in kinds for name in names]


def _tell(
    read: Dataset, dataset: Path, found: list[Problem], mended: mending.Mended | None, as_json: bool, wishes: Wishes
) -> int:
    numbers = Counter(problem.severity for problem in found)
    if as_json:
        document: dict[str, Any] = {
            "dataset": str(dataset),
            "layout": read.layout,
            "cases": len(read.training),
            "problems": [_as_json(problem) for problem in found],
        }
        if mended is not None:
            document["mended"] = mended.to_json()
        print(json.dumps(document, indent=1))
    else:
        for line in lines(found, wishes.everything):
            print(line)
        if mended is not None:
            for line in mended.lines(wishes.everything):
                print(line)
    notices = f", {count(numbers['notice'], 'notice')}" if numbers["notice"] else ""
    print(
        f"{dataset}: {count(len(read.training), 'case')} checked, {count(numbers['error'], 'error')}, "
        f"{count(numbers['warning'], 'warning')}{notices}",
        file=sys.stderr,
    )
    if mended is not None:
        print(mended.sentence(), file=sys.stderr)
        return 0 if mended.complete else 1
    return 1 if numbers["error"] or (wishes.strict and numbers["warning"]) else 0


def _as_json(problem: Problem) -> dict[str, str]:
    shown = replace(problem, file=Path(str(problem.file).encode("utf-8", "backslashreplace").decode()))
    return {
        "file": str(shown.file),
        "fault": shown.fault,
        "fix": shown.fix,
        "severity": shown.severity,
        "rule": shown.rule,
    }
