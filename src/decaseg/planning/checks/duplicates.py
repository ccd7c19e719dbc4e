"""The same voxels under two ids: one may be trained on and the other validated on, which flatters the score."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from decaseg.planning.checks.problem import Problem
from decaseg.planning.checks.survey import Case, Survey


def find(survey: Survey) -> Iterator[Problem]:
    """By the content of voxels, so that names, headers, compression and number type do not matter."""
    images: dict[str, Case] = {}
    values: dict[str, Case] = {}
    labels: dict[str, Case] = {}
    paths: dict[Path, Case] = {}
    for case in survey.training:
        voxels = case.image_voxels
        if voxels is not None:
            if (first := images.setdefault(voxels.digest, case)) is not case:
                yield Problem(case.files.image, *_twice("image", first))
                continue
            if (first := values.setdefault(voxels.values, case)) is not case:
                yield Problem(case.files.image, *_twice("image, in another number type,", first))
                continue
        if case.label is None:
            continue
        if (first := paths.setdefault(case.label.file, case)) is not case:
            fault = f"is listed as the label of two cases, {first.name} and {case.name}"
            yield Problem(case.label.file, fault, "give each case its own label in dataset.json")
            continue
        if case.label_voxels is None or not case.label_voxels.centres:
            continue  # empty labels are alike, and named one by one
        if (first := labels.setdefault(case.label_voxels.digest, case)) is not case:
            fault = f"holds the same label map as case {first.name}, whose image is another"
            yield Problem(case.label.file, fault, "make sure that it belongs to its image", "warning")
    for case in survey.test:
        if case.image_voxels is not None and case.image_voxels.digest in images:
            fault = f"holds the same image as training case {images[case.image_voxels.digest].name}"
            fix = "take it out of one of the two lists in dataset.json"
            yield Problem(case.files.image, fault, fix, "warning")


def _twice(what: str, first: Case) -> tuple[str, str]:
    fault = f"holds the same {what} as case {first.name}, so training and validation could share it"
    return fault, "take one of the two cases out of dataset.json (--fix drops this one)"
