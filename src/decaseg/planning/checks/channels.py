"""Images with more or fewer channels than the data set names; label maps with channels."""

from __future__ import annotations

from collections.abc import Iterator

from decaseg.planning.checks.problem import Problem, count
from decaseg.planning.checks.survey import Survey


def find(survey: Survey) -> Iterator[Problem]:
    """Compares each header with the list of channels."""
    names = survey.dataset.channels
    for case in survey.training:
        channels = len(case.files.take) or sum(image.channels for image in case.images)
        if all(image.grid is not None for image in case.images) and channels != len(names):
            named = f"{len(names)} ({', '.join(names)})"
            fault = f"has {count(channels, 'channel')}, but {survey.says} names {named}"
            fix = 'mend "modality" in dataset.json or store all channels in the image'
            yield Problem(case.image.file, fault, fix)
        if case.label is not None and case.label.grid is not None and case.label.channels != 1:
            fault = f"is a label map with {case.label.channels} channels"
            yield Problem(case.label.file, fault, "store one label value per voxel, as a 3D image")
