"""Two evaluations of the same cases: the paired difference, a scatter, and which cases got better or worse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from decaseg.metrics import CaseScores, Comparison, compare
from decaseg.metrics.comparison import LEVEL
from decaseg.reporting.charts import (
    HEIGHT,
    LEFT,
    NARROW,
    RIGHT,
    WIDTH,
    box,
    dot,
    line,
    opened,
    round_ticks,
    text,
    x_axis,
    x_scale,
    y_axis,
    y_scale,
)
from decaseg.reporting.material import Scores
from decaseg.reporting.words import counted, listed, shortened, signed

SAME = 0.0005  # of Dice: smaller differences are not called better or worse
WORDS = {
    "first": "{first} is better than {second}.",
    "second": "{second} is better than {first}.",
    "none": "No difference is shown, which does not show that they are equal.",
    "few": "Too few cases differ for a test to decide: it takes 6.",
    "equal": "Both have the same Dice in every case.",
}


@dataclass(frozen=True)
class Change:
    """A case's mean Dice in this evaluation and in the other, worst change first."""

    case: str
    here: float
    there: float

    @property
    def difference(self) -> float:
        return self.here - self.there


@dataclass(frozen=True)
class Compared:
    """This evaluation and the other over the cases that both have; `left_out` says in words what only one has."""

    here: str
    there: str
    comparison: Comparison
    changes: tuple[Change, ...]
    left_out: str

    @property
    def better(self) -> tuple[Change, ...]:
        return tuple(c for c in self.changes if c.difference > SAME)[::-1]

    @property
    def worse(self) -> tuple[Change, ...]:
        return tuple(c for c in self.changes if c.difference < -SAME)


def compared(here: Scores, there: Scores, names: tuple[str, str]) -> Compared:
    """Compares the cases, structures and metrics that both have. ValueError where they share none."""
    common = [case for case in here.cases if case in there.cases]
    structures = [s for s in here.structures if s in there.structures]
    if not common or not structures:
        what = "cases" if not common else "structures"
        raise ValueError(f"--compare {there.folder}: has none of the {what} of {here.folder}; compare the same data")
    rows = [scores.cases[case].get(s, {}) for scores in (here, there) for case in common for s in structures]
    metrics = [m for m in rows[0] if all(m in row for row in rows)]
    if "dice" not in metrics:
        raise ValueError(f"--compare {there.folder}: some case has no Dice there or in {here.folder}; score them again")
    first, second = (
        {case: CaseScores({s: {m: scores.cases[case][s][m] for m in metrics} for s in structures}) for case in common}
        for scores in (here, there)
    )
    changes = [Change(case, first[case].mean_dice, second[case].mean_dice) for case in common]
    return Compared(
        *names,
        compare(first, second),
        tuple(sorted(changes, key=lambda c: (c.difference, c.case))),
        _left_out(here, there, names),
    )


def _left_out(here: Scores, there: Scores, names: tuple[str, str]) -> str:
    words = []
    for one, other, name in ((here, there, names[0]), (there, here, names[1])):
        cases = [case for case in one.cases if case not in other.cases]
        structures = [s for s in one.structures if s not in other.structures]
        if cases:
            words.append(f"{counted(len(cases), 'case')} only in {name}: {listed(cases, 4)}.")
        if structures:
            words.append(f"Only {name} has {listed(structures, 4)}.")
    return "Left out: " + " ".join(words) if words else ""


def verdict(found: Compared) -> str:
    """What can be concluded, in a sentence; the test and the interval must agree (see metrics.comparison)."""
    mean = found.comparison.mean_dice
    words = WORDS[mean.says].format(first=found.here, second=found.there)
    apart, significant = mean.ci95[0] > 0 or mean.ci95[1] < 0, mean.p_wilcoxon < LEVEL
    if mean.says == "none" and apart != significant:
        one, other = ("interval leaves out 0", "test") if apart else ("test finds one", "interval")
        words += f" The {one}, but the {other} does not agree; it takes both."
    return words


def scatter_chart(found: Compared) -> str:
    """This evaluation's Dice against the other's, a mark a case; above the diagonal this one is better."""
    values = [v for c in found.changes for v in (c.here, c.there)]
    low, high, _ = round_ticks(min(values), max(values))
    low, high = max(0.0, low), min(1.0, high)
    x, y = x_axis(low, high, stop=NARROW - RIGHT), y_axis(low, high)
    spoken = f"{len(found.better)} cases better, {len(found.worse)} worse, of {len(found.changes)}"
    parts = [opened("Dice of each case in both", spoken, width=NARROW)]
    parts.append(y_scale(y, f"Dice here: {shortened(found.here, 34)}", right=x.stop))
    parts.append(x_scale(x, f"Dice there: {shortened(found.there, 34)}"))
    parts.append(line("zero", x(low), y(low), x(high), y(high)))
    for c in found.changes:
        words = f"{c.case}\n{c.here:.3f} here, {c.there:.3f} there\ndifference {signed(c.difference)}"
        parts.append(_triangle(c, x(c.there), y(c.here), words))
    return "".join(parts) + "</svg>"


def changes_chart(found: Compared) -> str:
    """A bar a case from 0 to its difference, the worst at the left; the line is the mean, the band its interval."""
    mean = found.comparison.mean_dice
    values = [c.difference for c in found.changes]
    low, high, _ = round_ticks(min(*values, 0.0, mean.ci95[0]), max(*values, 0.0, mean.ci95[1]))
    y, left, right = y_axis(low, high), float(LEFT), float(WIDTH - RIGHT)
    spoken = f"from {signed(values[0])} to {signed(values[-1])}, mean {signed(mean.mean)}"
    parts = [opened("Difference of Dice, case by case", spoken), y_scale(y, "Dice here less Dice there")]
    top, bottom = y(mean.ci95[1]), y(mean.ci95[0])
    parts.append(box("band", left, top, right - left, bottom - top))
    step = (right - left) / len(values)
    wide = min(0.72 * step, 26.0)
    for place, c in enumerate(found.changes):
        at, end = left + step * (place + 0.5), y(c.difference)
        words = f"{c.case}\n{signed(c.difference)} ({c.here:.3f} here, {c.there:.3f} there)"
        upper, height = min(end, y(0)), max(abs(end - y(0)), 1.0)
        kind = "up" if c.difference > SAME else "down" if c.difference < -SAME else "same"
        parts.append(
            f'<rect class="dot {kind}" data-case="{escape(c.case)}" x="{at - wide / 2:.1f}" width="{wide:.1f}" '
            f'y="{upper:.1f}" height="{height:.1f}"><title>{escape(words)}</title></rect>'
        )
    parts.append(line("base", left, y(0), right, y(0)))
    parts.append(line("bias", left, y(mean.mean), right, y(mean.mean)))
    label = f"{counted(len(values), 'case')}, worst change to best; line: mean {signed(mean.mean)}"
    parts.append(text((left + right) / 2, HEIGHT - 8, label, "axis", "middle"))
    return "".join(parts) + "</svg>"


def _triangle(c: Change, x: float, y: float, words: str) -> str:
    """Upwards where this one is better, downwards where it is worse, a dot where they are the same."""
    if abs(c.difference) <= SAME:
        return dot("same", c.case, x, y, words)
    kind, path = ("up", "l5.5 9.5h-11z") if c.difference > 0 else ("down", "l-5.5-9.5h11z")
    start = y - 6 if kind == "up" else y + 6
    return (
        f'<path class="dot {kind}" data-case="{escape(c.case)}" d="M{x:.1f} {start:.1f}{path}">'
        f"<title>{escape(words)}</title></path>"
    )


def change_of(found: Compared | None) -> Mapping[str, Change]:
    """Case -> its change, for the table of all cases."""
    return {} if found is None else {c.case: c for c in found.changes}
