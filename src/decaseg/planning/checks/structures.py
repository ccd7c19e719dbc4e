"""Structures that dataset.json names and no label map has."""

from __future__ import annotations

from collections.abc import Iterator

from decaseg.planning.checks.problem import Problem
from decaseg.planning.checks.survey import Survey


def find(survey: Survey) -> Iterator[Problem]:
    """Silent where a label map cannot be read: the structure may occur there, and that is a problem of its own."""
    known = [case.label_voxels for case in survey.training]
    counts = [voxels.counts for voxels in known if voxels is not None and voxels.counts is not None]
    if len(counts) < len(known):
        return
    occurring = {value for found in counts for value in found}
    labels = survey.dataset.labels
    for value in sorted(set(survey.dataset.structures) - occurring):
        fault = f'names the structure "{value}": "{labels[value]}", which occurs in no label'
        yield Problem(survey.description, fault, 'take it out of "labels" or add cases that have it')
