"""What dataset.json says about itself and is not so: counts that differ from its own lists."""

from __future__ import annotations

from collections.abc import Iterator

from decaseg.planning.checks.problem import Problem
from decaseg.planning.checks.survey import Survey
from decaseg.storage.files import read_json

COUNTS = (("numTraining", "training"), ("numTest", "test"))


def find(survey: Survey) -> Iterator[Problem]:
    """Notices: nothing here uses the counts, other programs may."""
    if not (survey.lists_files and survey.description.is_file()):
        return
    document = read_json(survey.description)
    lengths = {"training": len(survey.dataset.training), "test": len(survey.dataset.test)}
    for key, listing in COUNTS:
        if key in document and document[key] != lengths[listing]:
            fault = f'says "{key}": {document[key]!r}, but lists {lengths[listing]} under "{listing}"'
            yield Problem(survey.description, fault, "mend the number, or the list (--fix does the former)", "notice")
