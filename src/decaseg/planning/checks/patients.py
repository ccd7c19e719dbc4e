"""Ids that tell of several scans of one patient, which must not be split over training and validation."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from decaseg.planning.checks.problem import Problem, some
from decaseg.planning.checks.survey import Survey

# The patient's part of the id comes first: sub-01_ses-2, patient007_frame01, BraTS-GLI-00005-100, case_12_t1.
SCAN = re.compile(
    r"(?P<patient>.*\d.*?)(?:[-_]?(?:ses|session|visit|scan|frame|time|timepoint|tp|week|month|day|run)[-_]?\d+.*|"
    r"(?<=\d{5})-\d{3})",
    re.IGNORECASE,
)


def find(survey: Survey) -> Iterator[Problem]:
    """One warning for the whole set."""
    patients: dict[str, list[str]] = defaultdict(list)
    for case in survey.training:
        if found := SCAN.fullmatch(case.name):
            patients[found["patient"]].append(case.name)
    several = {patient: names for patient, names in patients.items() if len(names) > 1}
    if several:
        first = next(iter(several))
        fault = f"seems to list several scans of {len(several)} patients ({first}: {some(several[first])})"
        fix = "keep all scans of a patient in one fold, or validation flatters"
        yield Problem(survey.description, fault, fix, "warning")
