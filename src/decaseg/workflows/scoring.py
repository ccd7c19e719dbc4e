"""How cases are scored, from what a person wrote: tolerances, lesions, groups. Shared by score and evaluate."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from decaseg.data.targets import Target
from decaseg.metrics import DEFAULT_TOLERANCE_MM, LESION_RULES, LesionRule, Summary, summarise_groups
from decaseg.metrics.decathlon import tolerance_of
from decaseg.storage.groups import UNKNOWN, read_groups


@dataclass(frozen=True)
class Wishes:
    """What was asked for on the command line; the default is the default of each option."""

    tolerance: tuple[str, ...] = ()
    lesions: str | None = None
    groups: Path | None = None
    group_by: str | None = None


@dataclass(frozen=True)
class Scoring:
    """What NSD forgives a structure, in mm, and where that comes from; the rule for lesions, None: not counted."""

    tolerances_mm: Mapping[str, float]
    tolerances_from: str
    lesions: LesionRule | None

    def to_json(self) -> dict[str, Any]:
        """How metrics.json records it."""
        return {
            "nsd_tolerance_mm": dict(self.tolerances_mm),
            "nsd_tolerance_from": self.tolerances_from,
            "lesions": None if self.lesions is None else asdict(self.lesions),
        }


def make_scoring(wishes: Wishes, target: Target, dataset: str = "") -> Scoring:
    """How to score the target's structures; `dataset` is the name of the data set's folder, `` where none is known.

    Tolerances are the house's 1 mm, the Decathlon's for its own data sets, and over both what was wished.
    """
    if wishes.lesions is not None and wishes.lesions not in LESION_RULES:
        raise ValueError(f"--lesions {wishes.lesions}: choose one of {', '.join(LESION_RULES)}")
    if wishes.groups is None and wishes.group_by is not None:
        raise ValueError(f"--group-by {wishes.group_by}: needs the CSV it is a column of; add --groups FILE.csv")
    known = tolerance_of(dataset)
    base = DEFAULT_TOLERANCE_MM if known is None else known
    tolerances = dict.fromkeys(target.names, base) | parsed_tolerances(wishes.tolerance, target)
    source = "default" if known is None else f"the Decathlon's for {dataset}"
    rule = None if wishes.lesions is None else LESION_RULES[wishes.lesions]
    return Scoring(tolerances, "--tolerance" if wishes.tolerance else source, rule)


def parsed_tolerances(words: Sequence[str], target: Target) -> dict[str, float]:
    """`["2"]` -> 2 mm for every structure; `["1=2", "liver=3"]` -> for that of label 1 and the one so named."""
    by_word = {name: name for name in target.names}
    by_word |= {str(s.labels[0]): s.name for s in target.structures if len(s.labels) == 1}
    found: dict[str, float] = {}
    for word in words:
        where, equals, text = word.rpartition("=")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"--tolerance {word}: is not 0 or more millimetres; write 2, 1=2 or liver=2")
        if equals and where.strip() not in by_word:
            raise ValueError(f"--tolerance {word}: there is no {where.strip()!r}; choose from {', '.join(by_word)}")
        names = [by_word[where.strip()]] if equals else list(target.names)
        if twice := [name for name in names if name in found]:
            raise ValueError(f"--tolerance {word}: {twice[0]} has a tolerance already; give each one")
        found |= dict.fromkeys(names, value)
    return found


def with_groups(summary: Summary, wishes: Wishes) -> Summary:
    """The summary with its groups among the notes, where a CSV was given; what is not in it goes to `unknown`.

    Cases of the CSV that were not scored are no fault: one file serves many evaluations.
    """
    if wishes.groups is None:
        return summary
    column, group_of = read_groups(wishes.groups, wishes.group_by)
    lost = [case for case in summary.cases if case not in group_of]
    if lost:
        more = " …" * (len(lost) > 5)
        print(f"warning: {wishes.groups} lacks {', '.join(lost[:5])}{more}: group {UNKNOWN}", file=sys.stderr)
    groups = summarise_groups(summary.cases, {case: group_of.get(case, UNKNOWN) for case in summary.cases})
    parts = {
        group: {"n": len(part.cases), "cases": list(part.cases)} | part.statistics_json()
        for group, part in groups.items()
    }
    note = {"column": column, "file": wishes.groups.name, "groups": parts}
    return replace(summary, notes=dict(summary.notes) | {"groups": note})


def check_groups(wishes: Wishes, cases: Sequence[str]) -> None:
    """Reads the CSV for its faults' sake, before hours of scoring `cases`; it must have one of them at least."""
    if wishes.groups is None:
        return
    _, group_of = read_groups(wishes.groups, wishes.group_by)
    if not any(case in group_of for case in cases):
        raise ValueError(
            f"{wishes.groups}: has none of the cases to score, such as {cases[0]}; write their names in it"
        )
