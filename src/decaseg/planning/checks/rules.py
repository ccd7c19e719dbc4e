"""The rules by name, in the order in which they speak. A new one: a file beside this one and a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from decaseg.planning.checks import (
    affines,
    channels,
    decathlon,
    description,
    duplicates,
    files,
    forms,
    grids,
    intensities,
    labels,
    lookalikes,
    mirrored,
    patients,
    sides,
    structures,
    units,
    unlisted,
    volumes,
    voxels,
)
from decaseg.planning.checks.problem import Problem
from decaseg.planning.checks.survey import Survey

Rule = Callable[[Survey], Iterator[Problem]]

HEADERS: dict[str, Rule] = {  # what a training repeats before it starts: no voxel is needed
    "files": files.find,
    "channels": channels.find,
    "grids": grids.find,
    "affines": affines.find,
    "forms": forms.find,
    "units": units.find,
}
CASE: dict[str, Rule] = {  # what one case's voxels tell by themselves
    "voxels": voxels.find,
    "labels": labels.find,
}
SET: dict[str, Rule] = {  # what only the whole set tells
    "duplicates": duplicates.find,
    "lookalikes": lookalikes.find,
    "patients": patients.find,
    "structures": structures.find,
    "unlisted": unlisted.find,
    "volumes": volumes.find,
    "intensities": intensities.find,
    "mirrored": mirrored.find,
    "sides": sides.find,
    "description": description.find,
    "decathlon": decathlon.find,
}
RULES: dict[str, Rule] = HEADERS | CASE | SET
