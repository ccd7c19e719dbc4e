"""Files that are missing, cut short, damaged or no NIfTI."""

from __future__ import annotations

from collections.abc import Iterator

from decaseg.planning.checks.problem import Problem
from decaseg.planning.checks.survey import Survey


def find(survey: Survey) -> Iterator[Problem]:
    """One problem for each file that cannot be read to its end; images missing under "test" are told of once."""
    for case in survey.training:
        headers = [header.fault for header in case.headers if header.fault]
        broken = {fault.file for fault in headers}
        for fault in (*headers, *(fault for fault in case.faults if fault.file not in broken)):
            yield Problem(fault.file, fault.fault, fault.fix)
    for case in survey.test:
        for fault in case.faults:
            yield Problem(fault.file, fault.fault, fault.fix)
    missing = [files.image for files in survey.dataset.test if not files.image.exists()]
    if missing and survey.deep:
        many = f'{len(missing)} of {len(survey.dataset.test)} images listed under "test" are'
        fix = "copy them there or empty the list; training needs none"
        yield Problem(missing[0], f"is not there ({many} missing)", fix, "warning")
