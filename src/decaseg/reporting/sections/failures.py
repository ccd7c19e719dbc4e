"""What went wrong, written as sentences: missed and made-up structures and lesions, outliers, bias, weak sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from decaseg.metrics import bootstrap_ci95
from decaseg.reporting.sections.volumes import agreement
from decaseg.reporting.words import counted, percent, said, signed

FEWEST_FOR_OUTLIERS = 8
FEWEST_FOR_SIZES = 12
FENCE = 1.5  # of the middle half's length, beyond its upper end (Tukey 1977)
FALLING = 0.05  # of Dice: less of a difference between small and large is not worth a sentence

Cases = Mapping[str, Mapping[str, Mapping[str, float]]]  # case -> structure -> metric -> value


@dataclass(frozen=True)
class Note:
    """A sentence, the cases it speaks of, worst first, and the word that marks them in the table of cases.

    `grave` notes are about predictions that are wrong; the others are about tendencies, or about what is not known.
    """

    words: str
    cases: tuple[str, ...] = ()
    mark: str = ""
    grave: bool = False


def failure_notes(cases: Cases, structures: Sequence[str]) -> list[Note]:
    """The grave ones first, structure by structure; tendencies; then what could not be looked for."""
    notes: list[Note] = []
    for name in structures:
        notes += _empty(cases, name)
    for name in structures:
        notes += _outliers(cases, name)
    for name in structures:
        notes += _bias(cases, name) + _sizes(cases, name)
    notes += _lesions(cases, structures)
    return sorted(notes, key=lambda note: not note.grave)


def _rows(cases: Cases, structure: str) -> list[tuple[str, Mapping[str, float]]]:
    return [(case, rows[structure]) for case, rows in cases.items() if structure in rows]


def _empty(cases: Cases, name: str) -> list[Note]:
    """A structure of which nothing was predicted, one that is not there, and one predicted somewhere else."""
    rows = [(c, r) for c, r in _rows(cases, name) if "volume_ml" in r and "volume_truth_ml" in r]
    missed = sorted(
        ((r["volume_truth_ml"], c) for c, r in rows if not r["volume_ml"] and r["volume_truth_ml"]), reverse=True
    )
    invented = sorted(
        ((r["volume_ml"], c) for c, r in rows if r["volume_ml"] and not r["volume_truth_ml"]), reverse=True
    )
    astray = [c for c, r in rows if r["volume_ml"] and r["volume_truth_ml"] and r.get("dice") == 0]
    notes = []
    if missed:
        most = said("volume_ml", missed[0][0])
        words = f"{name}: nothing was predicted in {counted(len(missed), 'case')} that {_have(missed)} it"
        words += f" (up to {most})." if len(missed) > 1 else f" ({most})."
        notes.append(Note(words, tuple(c for _, c in missed), "missed", True))
    if invented:
        most = said("volume_ml", invented[0][0])
        words = f"{name}: predicted in {counted(len(invented), 'case')} that {_have(invented)} none"
        words += f" (up to {most})." if len(invented) > 1 else f" ({most})."
        notes.append(Note(words, tuple(c for _, c in invented), "made up", True))
    if astray:
        words = f"{name}: predicted entirely in the wrong place in {counted(len(astray), 'case')}."
        notes.append(Note(words, tuple(astray), "astray", True))
    return notes


def _have(cases: Sequence[object]) -> str:
    return "has" if len(cases) == 1 else "have"


def _lesions(cases: Cases, structures: Sequence[str]) -> list[Note]:
    notes = []
    counted_any = False
    for name in structures:
        rows = [(c, r) for c, r in _rows(cases, name) if "lesions_missed" in r and "lesions_found" in r]
        counted_any |= bool(rows)
        missed, found, false = (
            int(sum(r.get(k, 0) for _, r in rows)) for k in ("lesions_missed", "lesions_found", "lesions_false")
        )
        if missed:
            worst = sorted((c for c, r in rows if r["lesions_missed"]), key=lambda c: -cases[c][name]["lesions_missed"])
            words = f"{name}: {missed} of {counted(missed + found, 'lesion')} missed, in {counted(len(worst), 'case')}."
            notes.append(Note(words, tuple(worst), "lesion missed", True))
        if false:
            worst = sorted(
                (c for c, r in rows if r.get("lesions_false")), key=lambda c: -cases[c][name]["lesions_false"]
            )
            are = "is" if false == 1 else "are"
            where = f"in {counted(len(worst), 'case')}"
            words = f"{name}: {counted(false, 'lesion')} predicted where there {are} none, {where}."
            notes.append(Note(words, tuple(worst), "lesion made up", True))
        if rows and not missed and not false:
            notes.append(Note(f"{name}: all {counted(found, 'lesion')} found, none made up."))
    if cases and not counted_any:
        notes.append(Note("Single lesions were not looked at; evaluate or score with --lesions counts them."))
    return notes


def _outliers(cases: Cases, name: str) -> list[Note]:
    """By the 95 % Hausdorff distance, above Tukey's fence; empty masks are told of by `_empty`."""
    distances = {c: r["hd95_mm"] for c, r in _rows(cases, name)
                 if "hd95_mm" in r and r.get("volume_ml", 1) and r.get("volume_truth_ml", 1)}  # fmt: skip
    if len(distances) < FEWEST_FOR_OUTLIERS:
        return []
    low, high = np.percentile(list(distances.values()), [25, 75])
    fence = float(high + FENCE * (high - low))
    far = sorted((c for c, v in distances.items() if v > fence and v > 0), key=lambda c: -distances[c])
    if not far:
        return []
    words = (
        f"{name}: {counted(len(far), 'case')} with a boundary unusually far off: 95 % Hausdorff distance above "
        f"{said('hd95_mm', fence)}, at worst {said('hd95_mm', distances[far[0]])} (half of the cases lie between "
        f"{said('hd95_mm', float(low))} and {said('hd95_mm', float(high))})."
    )
    return [Note(words, tuple(far), "far off", True)]


def _bias(cases: Cases, name: str) -> list[Note]:
    found = agreement(cases, name)
    if found is None:
        return []
    low, high = found.ci95
    share = f", {percent(abs(found.bias) / found.mean_true)} of the mean volume" if found.mean_true else ""
    interval = f"95 % interval {signed(low)} to {signed(high)} ml"
    if not found.shown:
        return [Note(f"{name}: no bias of volume is shown (mean {signed(found.bias)} ml, {interval}).")]
    way = "too large" if found.bias > 0 else "too small"
    words = f"{name}: volumes come out {way}, by {abs(found.bias):.3g} ml on average{share} ({interval})."
    return [Note(words)]


def _sizes(cases: Cases, name: str) -> list[Note]:
    """Whether the smallest third of a structure does worse than the largest, beyond what chance would do."""
    rows = sorted(((r["volume_truth_ml"], r["dice"], c) for c, r in _rows(cases, name)
                   if r.get("volume_truth_ml") and "dice" in r))  # fmt: skip
    if len(rows) < FEWEST_FOR_SIZES:
        return []
    third = len(rows) // 3
    small, large = (np.array([d for _, d, _ in part]) for part in (rows[:third], rows[-third:]))
    gap = float(large.mean() - small.mean())
    ends = [bootstrap_ci95(part[:, None], seed) for seed, part in enumerate((small, large))]
    apart = float(ends[0][1][0]) < float(ends[1][0][0])
    if gap < FALLING or not apart:
        return []
    words = (
        f"{name}: small ones do worse. Below {said('volume_ml', rows[third - 1][0])} the mean Dice is "
        f"{small.mean():.3f}, above {said('volume_ml', rows[-third][0])} it is {large.mean():.3f} "
        f"(thirds of {third} cases)."
    )
    return [Note(words, tuple(c for _, _, c in sorted(rows[:third], key=lambda row: row[1])[:3]))]


def marks_of(notes: Sequence[Note]) -> dict[str, list[str]]:
    """Case -> the marks it has, each once."""
    found: dict[str, list[str]] = {}
    for note in notes:
        for case in note.cases if note.mark else ():
            marks = found.setdefault(case, [])
            if note.mark not in marks:
                marks.append(note.mark)
    return found
