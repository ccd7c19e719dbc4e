"""Cases in pictures: the worst, the median and the best one large and moving, all others small."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from decaseg.reporting.material import Scores
from decaseg.reporting.pictures import FEATURED_WIDTH, Inline, inline_still, small_width
from decaseg.reporting.progress import progress
from decaseg.reporting.sections.comparison import Change, Compared
from decaseg.reporting.sections.headline import mean_dice
from decaseg.reporting.sections.moving import inline_motion
from decaseg.reporting.words import metric_words, said

MOST_SCROLLING, MOST_TURNING = 650_000, 650_000  # bytes of a moving picture; base64 makes a third more
MOST_CHANGED = 3  # cases shown in both versions, of the worse ones and of the better ones
CHANGED_WIDTH = 900
TOLD = ("dice", "hd95_mm", "volume_ml", "volume_truth_ml", "lesions_found", "lesions_missed", "lesions_false")


@dataclass(frozen=True)
class Shown:
    """A case in pictures; `parts` are its structures, each with (words, value) rows of what matters of it."""

    title: str
    case: str
    mean: str
    parts: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    still: Inline
    scrolling: Inline | None = None
    turning: Inline | None = None
    command: str = ""  # opens the case in the viewer


@dataclass(frozen=True)
class Both:
    """A case as this evaluation and as the other have it; a picture that one of them lacks is None."""

    change: Change
    here: Inline | None
    there: Inline | None


def featured(scores: Scores, ranked: Sequence[str]) -> list[Shown]:
    """The worst, the median and the best case that have pictures, each once; `ranked` is worst first."""
    shown = [case for case in ranked if case in scores.pictures]
    places = {"Worst": 0, "Median": len(shown) // 2, "Best": len(shown) - 1}
    chosen = {shown[place]: title for title, place in reversed(places.items())} if shown else {}
    with progress("shrinking moving pictures") as advance:
        found = []
        for done, (case, title) in enumerate(reversed(chosen.items()), 1):
            found.append(_large(scores, case, title))
            advance(done, len(chosen))
    return found


def _large(scores: Scores, case: str, title: str) -> Shown:
    rows = scores.cases[case]
    told = {name: tuple((metric_words(m), said(m, row[m])) for m in TOLD if m in row) for name, row in rows.items()}
    return Shown(
        title,
        case,
        f"{mean_dice(rows):.3f}",
        tuple(told.items()),
        inline_still(scores.pictures[case], FEATURED_WIDTH),
        inline_motion(scores.animations[case], MOST_SCROLLING) if case in scores.animations else None,
        inline_motion(scores.turning[case], MOST_TURNING) if case in scores.turning else None,
        _view_command(scores, case),
    )


def _view_command(scores: Scores, case: str) -> str:
    """What opens a case in the viewer, from the folder that holds the evaluation's; empty where it has no images."""
    if not (scores.folder / "predictions").is_dir():
        return ""
    return f"decaseg view {shlex.quote(scores.folder.resolve().name)} --case {shlex.quote(case)}"


def others(scores: Scores, ranked: Sequence[str], large: Sequence[str]) -> list[Shown]:
    """All cases with pictures that are not among the `large` ones, small enough that all of them fit the page."""
    width = small_width(len(scores.pictures))
    chosen = [case for case in ranked if case in scores.pictures and case not in large]
    found = []
    with progress("shrinking pictures") as advance:
        for done, case in enumerate(chosen, 1):
            mean = f"{mean_dice(scores.cases[case]):.3f}"
            found.append(Shown("", case, mean, (), inline_still(scores.pictures[case], width)))
            advance(done, len(chosen))
    return found


def changed(found: Compared, here: Scores, there: Scores) -> list[tuple[str, list[Both]]]:
    """The cases that lost and that won most, in both versions, where both or one of them have pictures."""
    parts = []
    for title, changes in (("Worse here", found.worse), ("Better here", found.better)):
        pairs = [_both(change, here, there) for change in changes[:MOST_CHANGED]]
        pairs = [pair for pair in pairs if pair.here or pair.there]
        if pairs:
            parts.append((title, pairs))
    return parts


def _both(change: Change, here: Scores, there: Scores) -> Both:
    pictures = (s.pictures.get(change.case) for s in (here, there))
    first, second = (inline_still(path, CHANGED_WIDTH) if path else None for path in pictures)
    return Both(change, first, second)
