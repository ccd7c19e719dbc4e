"""Many like problems do not bury the others."""

from __future__ import annotations

from pathlib import Path

from decaseg.planning.checks.problem import Problem
from decaseg.reporting.problems import SHOWN, lines


def many(number: int, fault: str, rule: str = "r") -> list[Problem]:
    return [Problem(Path(f"{n}.nii"), fault.format(n), "mend it", rule=rule) for n in range(number)]


def test_of_like_ones_the_first_few_and_a_count() -> None:
    found = [*many(484, "has {} voxels that are NaN"), *many(2, "is gone"), *many(1, "has {} voxels that are NaN", "q")]
    said = list(lines(found))
    assert len(said) == SHOWN + 1 + 2 + 1
    assert said[SHOWN] == f"error: and {484 - SHOWN} more like these; --all or --json lists them"
    assert len(list(lines(found, everything=True))) == len(found)


def test_one_too_many_is_shown_rather_than_counted() -> None:
    assert len(list(lines(many(SHOWN + 1, "is gone")))) == SHOWN + 1


def test_like_ones_stand_together_in_the_order_of_the_first() -> None:
    a, b = many(2, "is a"), many(2, "is b")
    assert list(lines([a[0], b[0], a[1], b[1]])) == [str(p) for p in (*a, *b)]
