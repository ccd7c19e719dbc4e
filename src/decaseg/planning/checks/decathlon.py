"""What is known of the Decathlon's own data sets, told when one of them is checked."""

from __future__ import annotations

from collections.abc import Iterator

from decaseg.planning.checks.problem import Problem
from decaseg.planning.checks.survey import Survey

WHERE = "docs/explanation/check.md has the sources"
KNOWN = {
    "Task03_Liver": (
        "comes from LiTS, of which volumes 28 to 47 are reported to have voxel sizes of 1 x 1 x 1 mm that are not "
        "theirs, and axes in several orders",
        f"distances and volumes of those cases are not in millimetres; {WHERE}",
    ),
    "Task09_Spleen": (
        "is reported to store its anatomy as LPS under headers that say RAS: left is then right, front is back",
        f"what is trained on it fits images stored the same way; turn others by half about the long axis; {WHERE}",
    ),
}


def find(survey: Survey) -> Iterator[Problem]:
    """One notice, by the folder's name."""
    found = KNOWN.get(survey.dataset.root.resolve().name)
    if found is not None:
        yield Problem(survey.description, *found, "notice")
