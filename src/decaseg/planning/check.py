"""Finds what would spoil a training before it starts: one `Problem` for each file and fault."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from decaseg.geometry import int3
from decaseg.planning.checks.measure import (
    ImageVoxels,
    LabelVoxels,
    Slabs,
    measure_image,
    measure_label,
    slabs_of,
)
from decaseg.planning.checks.problem import Problem, count
from decaseg.planning.checks.rules import CASE, HEADERS, RULES, Rule
from decaseg.planning.checks.survey import Case, Fault, Header, Survey, image_files
from decaseg.storage import nifti
from decaseg.storage.dataset import CaseFiles, Dataset

__all__ = [
    "Problem",
    "Remembered",
    "judged",
    "problems",
    "quick_problems",
    "refuse",
    "take_survey",
    "voxel_problems",
    "worst_first",
]

Progress = Callable[[int, int], None]
SEVERITIES = ("error", "warning", "notice")


class Remembered(Protocol):
    """What an earlier check measured of a file, if the file is still the same; see `storage.remembered`."""

    def key(self, files: tuple[Path, ...], what: str) -> str | None: ...

    def get(self, key: str) -> Mapping[str, Any] | None: ...

    def put(self, key: str, facts: Mapping[str, Any]) -> None: ...


def quick_problems(dataset: Dataset) -> list[Problem]:
    """What the headers alone tell, in a moment: missing files, shapes, grids, channels. No voxel is read."""
    with ThreadPoolExecutor(4) as pool:
        cases = tuple(pool.map(_with_headers, dataset.training))
    return judged(Survey(dataset, cases), HEADERS)


def voxel_problems(dataset: Dataset, files: CaseFiles, image: NDArray, label: NDArray) -> list[Problem]:
    """What the voxels of one case tell, for whoever has read it already: image and label as (C, X, Y, Z)."""
    case = Case(
        files,
        tuple(Header(file) for file in image_files(files)),
        Header(files.label) if files.label is not None else None,
        image_voxels=measure_image(slabs_of(image), int3(image.shape[1:]), image.shape[0]),
        label_voxels=measure_label(slabs_of(label), int3(label.shape[1:]), label.shape[0]),
    )
    return judged(Survey(dataset, (case,), deep=True), CASE)


def refuse(found: Iterable[Problem]) -> None:
    """Raises a ValueError with the first error, and says how to see the others; warnings pass."""
    errors = [problem for problem in found if problem.severity == "error"]
    if errors:
        first, more = errors[0], len(errors) - 1
        others = f" (and {count(more, 'more problem')}: decaseg check lists all)" if more else ""
        raise ValueError(f"{first.file}: {first.fault}; {first.fix}{others}")


def problems(
    dataset: Dataset,
    threads: int | None = None,
    progress: Progress | None = None,
    remembered: Remembered | None = None,
) -> list[Problem]:
    """Everything wrong with the data set: errors first, then warnings, then notices, each in the order of the rules.

    See `take_survey` for the arguments.
    """
    return judged(take_survey(dataset, threads, progress, remembered))


def take_survey(
    dataset: Dataset,
    threads: int | None = None,
    progress: Progress | None = None,
    remembered: Remembered | None = None,
) -> Survey:
    """Reads every file once, in pieces of a few megabytes, by `threads` threads (default: up to 4, one a core).

    `progress(done, total)` counts cases. A file that is as it was when `remembered` measured it is not read again.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    tests = [files for files in dataset.test if files.image.exists()]
    wanted = [(files, False) for files in dataset.training] + [(files, True) for files in tests]
    pool = ThreadPoolExecutor(min(4, cores) if threads is None else threads)
    cases: list[Case] = []
    try:
        for case in pool.map(lambda one: _with_voxels(_with_headers(one[0]), one[1], remembered), wanted):
            cases.append(case)
            if progress is not None:
                progress(len(cases), len(wanted))
    finally:
        pool.shutdown(cancel_futures=True)
    trained = len(dataset.training)
    return Survey(dataset, tuple(cases[:trained]), tuple(cases[trained:]), deep=True)


def judged(survey: Survey, rules: Mapping[str, Rule] = RULES) -> list[Problem]:
    """What the rules find, the worst first; about a test image, which training does not read, nothing is an error."""
    tests = {case.files.image for case in survey.test}
    found = []
    with np.errstate(all="ignore"):  # headers and voxels may hold any number; infinities compare as they should
        for name, rule in rules.items():
            for problem in rule(survey):
                mild = problem.file in tests and problem.severity == "error"
                found.append(replace(problem, rule=name, severity="warning" if mild else problem.severity))
    return worst_first(found)


def worst_first(found: Iterable[Problem]) -> list[Problem]:
    """Errors, then warnings, then notices, each in the order given."""
    return sorted(found, key=lambda problem: SEVERITIES.index(problem.severity))


def _with_headers(files: CaseFiles) -> Case:
    images = tuple(Header.read(file) for file in image_files(files))
    return Case(files, images, None if files.label is None else Header.read(files.label))


def _with_voxels(case: Case, is_test: bool, remembered: Remembered | None) -> Case:
    """The case with all that its voxels say; an image whose header is broken is not read on."""
    faults = [header.fault for header in case.headers if header.fault is not None]
    image: ImageVoxels | None = None
    label: LabelVoxels | None = None
    if all(header.grid is not None for header in case.images):
        files = tuple(header.file for header in case.images)
        facts = _facts(files, "image", remembered, lambda: _measured_image(case.images), faults)
        image = None if facts is None else ImageVoxels.from_json(facts)
    if case.label is not None and case.label.grid is not None:
        header = case.label
        facts = _facts((header.file,), "label", remembered, lambda: _measured_label(header), faults)
        label = None if facts is None else LabelVoxels.from_json(facts).meant(case.files.values)
    return replace(case, is_test=is_test, image_voxels=image, label_voxels=label, faults=tuple(faults))


def _facts(
    files: tuple[Path, ...],
    what: str,
    remembered: Remembered | None,
    measure: Callable[[], Mapping[str, Any]],
    faults: list[Fault],
) -> Mapping[str, Any] | None:
    """What was measured before, or is now; None where the file cannot be read, which is added to `faults`."""
    if remembered is None:
        key = None
    elif (key := remembered.key(files, what)) is not None and (known := remembered.get(key)) is not None:
        return known
    try:
        facts = measure()
    except nifti.NiftiError as error:
        faults.append(Fault.of(error))
        return None
    if remembered is not None and key is not None:
        remembered.put(key, facts)
    return facts


def _measured_image(headers: tuple[Header, ...]) -> Mapping[str, Any]:
    def slabs() -> Slabs:
        first = 0  # channel of the file's own first one
        for header in headers:
            for channel, z, slab in nifti.slabs(header.file):
                yield first + channel, z, slab
            first += header.channels

    grid = headers[0].grid
    assert grid is not None  # the caller sees to it
    return measure_image(slabs(), grid.shape, sum(header.channels for header in headers)).to_json()


def _measured_label(header: Header) -> Mapping[str, Any]:
    assert header.grid is not None
    return measure_label(nifti.slabs(header.file), header.grid.shape, header.channels).to_json()
