"""Which cases of a data set train and which validate: as asked, and without anything standing on both sides."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decaseg.data.splits import (
    Bond,
    Split,
    bonds_of,
    groups_by_pattern,
    refuse_leaks,
    split_by_fold,
    split_by_fraction,
    split_from,
)
from decaseg.planning.fingerprint import Fingerprint
from decaseg.recipes import Recipe
from decaseg.storage.dataset import CaseFiles
from decaseg.storage.files import read_json
from decaseg.storage.groups import UNKNOWN, read_groups


@dataclass(frozen=True)
class Drawn:
    """A split and how it came about, for provenance and for people."""

    split: Split
    how: str
    groups: int | None = None
    put_together: tuple[tuple[str, ...], ...] = ()
    unused: int = 0

    def to_json(self) -> dict[str, Any]:
        same = [list(cases) for cases in self.put_together]
        return {"by": self.how, "groups": self.groups, "same_images": same, "cases_in_neither": self.unused}


def draw_split(recipe: Recipe, cases: Sequence[CaseFiles], same: Sequence[Bond] = ()) -> Drawn:
    """The split of the cases that the recipe asks for; else the data set's own, where it has one.

    Cases of a group (`--group`, else the data set's own groups, as patients of BIDS) and those with the `same` image
    stay on one side; an explicit list (`--split`) that parts them is refused. ValueError names the option or file and
    the way out.
    """
    names = [files.case for files in cases]
    groups = _groups(recipe, names) or _own_groups(cases)
    bonds = [*same, *(bonds_of(groups, "of one group, ") if groups else ())]
    if recipe.split is not None:
        split = split_from(read_json(Path(recipe.split)), names, recipe.fold, f"--split {recipe.split}")
        refuse_leaks(split, bonds, f"--split {recipe.split}")
        how = f"the lists in {Path(recipe.split).name}" + (f", fold {recipe.fold}" if recipe.fold is not None else "")
    elif not {"fold", "val_fraction"} & set(recipe.chosen()) and any(files.split == "val" for files in cases):
        split, how = _own_split(cases), "the data set's own"
        refuse_leaks(split, bonds, "the data set's own split")
    elif recipe.fold is not None:
        split, how = split_by_fold(names, recipe.fold, bonds=bonds), f"fold {recipe.fold} of 5"
    else:
        split = split_by_fraction(names, recipe.val_fraction, recipe.seed, bonds)
        how = f"{recipe.val_fraction:g} of the cases, seed {recipe.seed}"
    together = tuple(bond.cases for bond in same)
    counted = len(set(groups.values())) if groups else None
    return Drawn(split, how, counted, together, len(names) - len(split.train) - len(split.val))


def same_images(fingerprint: Fingerprint) -> list[Bond]:
    """A bond for each image that stands under several cases, told by its voxels, not by names or files."""
    digests = {case.case: case.image_digest for case in fingerprint.cases if case.image_digest}
    return [Bond("the same image", bond.cases) for bond in bonds_of(digests, "")]


def tell(drawn: Drawn) -> None:
    """Says on standard error what was put together or left out."""
    for cases in drawn.put_together:
        more = f" and {len(cases) - 2} more" if len(cases) > 2 else ""
        print(
            f"warning: {cases[0]} and {cases[1]}{more} hold the same image, so they stay on one side of the split; "
            "take all but one out of dataset.json",
            file=sys.stderr,
        )
    if drawn.groups is not None:
        print(f"split by {drawn.groups} groups, none of which is on both sides", file=sys.stderr)
    if drawn.unused:
        print(f"{drawn.unused} cases stand in neither list and are not used", file=sys.stderr)


def _own_groups(cases: Sequence[CaseFiles]) -> dict[str, str]:
    """Case -> the group that the data set gives it, none where no two cases share one."""
    groups = {files.case: files.group or files.case for files in cases}
    return groups if len(set(groups.values())) < len(groups) else {}


def _own_split(cases: Sequence[CaseFiles]) -> Split:
    """As the data set says; cases of which it says nothing train."""
    val = tuple(sorted(files.case for files in cases if files.split == "val"))
    return Split(tuple(sorted(files.case for files in cases if files.split != "val")), val)


def _groups(recipe: Recipe, names: Sequence[str]) -> dict[str, str]:
    """Case -> group, none without `--group`; ValueError for a case without one, or one group for all."""
    if recipe.group is None:
        if recipe.group_by is not None:
            raise ValueError(f"--group-by {recipe.group_by}: is a column of the CSV in --group; name that file too")
        return {}
    path = Path(recipe.group)
    if path.suffix.lower() in (".csv", ".tsv") or path.is_file():
        _, listed = read_groups(path, recipe.group_by)
        lacking = [name for name in names if listed.get(name, UNKNOWN) == UNKNOWN]
        if lacking:
            others = f" (nor to {len(lacking) - 1} others)" if len(lacking) > 1 else ""
            raise ValueError(f"--group {path}: gives no group to the case {lacking[0]}{others}; add its line")
        found = {name: listed[name] for name in names}
    else:
        if recipe.group_by is not None:
            raise ValueError(f"--group-by {recipe.group_by}: needs a CSV in --group, not a pattern; leave it out")
        found = groups_by_pattern(names, recipe.group)
    if len(set(found.values())) == 1 and len(names) > 1:
        only = next(iter(found.values()))
        raise ValueError(f"--group {recipe.group}: puts all {len(names)} cases into one group, {only}; mend it")
    return found
