"""Label maps with fractions, with values that dataset.json does not name, or with nothing but background."""

from __future__ import annotations

from collections.abc import Iterator

from decaseg.planning.checks.measure import MAX_VALUES, LabelVoxels
from decaseg.planning.checks.problem import Problem
from decaseg.planning.checks.survey import Survey

ROUNDED = 0.01  # fractions this near to whole numbers were whole before somebody computed with them


def find(survey: Survey) -> Iterator[Problem]:
    """Problems of each label map by itself."""
    for case in survey.training:
        if case.label is not None and case.label_voxels is not None:
            for fault, fix in _faults(survey, case.label_voxels):
                yield Problem(case.label.file, fault, fix)


def _faults(survey: Survey, label: LabelVoxels) -> Iterator[tuple[str, str]]:
    if label.counts is None:
        fault = f"holds more than {MAX_VALUES:,} different values, so it looks like an image, not a label map"
        yield fault, "name the label map in dataset.json"
        return
    if label.fractions:
        fault = f"has {label.fractions:,} voxels that are no whole numbers"
        if label.off is None:
            yield f"{fault} (or NaN)", "store whole numbers; resample label maps with nearest neighbour, not linearly"
        elif label.off <= ROUNDED:
            yield f"{fault}, at most {label.off:.2g} off", "round them (--fix does)"
        else:
            off = f"{fault}, up to {label.off:.2g} off"
            yield off, "store whole numbers; resample label maps with nearest neighbour, not linearly"
    names = survey.dataset.known_values
    strange = sorted(value for value in label.counts if value not in names)
    if strange:
        named = ", ".join(f"{value} ({label.counts[value]:,} voxels)" for value in strange[:5])
        fault = f"holds values that {survey.says} does not name: {named}{' …' * (len(strange) > 5)}"
        yield fault, 'name them under "labels" or set those voxels to one that is named'
    if set(label.counts) == {0} and not label.fractions:
        fix = "draw it, or take the case out of dataset.json"
        yield "is an empty label: 0, the background, in every voxel", fix
