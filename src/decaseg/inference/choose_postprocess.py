"""Chooses the post-processing on cases whose truth is known: one operation at a time, and only where it helps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decaseg.data.targets import Target
from decaseg.geometry import Float3, bounding_box
from decaseg.inference.postprocess import Cleaning, PostProcessing
from decaseg.metrics import METRICS, MaskPair
from decaseg.metrics.case import mask_of
from decaseg.volume import Volume

MIN_GAIN = 0.001  # of mean Dice: less is noise, and each operation is one more thing to explain
MIN_CASES = 3
CRUMBS_ML = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


@dataclass(frozen=True)
class Judged:
    """One case: predicted and true label map, both cut to the box round them, on a grid of `spacing_mm`."""

    prediction: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    spacing_mm: Float3
    voxel_ml: float

    @classmethod
    def of(cls, prediction: Volume, truth: Volume) -> Judged:
        """Cutting changes no component and no hole, and holds a case in a fraction of its memory."""
        p, t = prediction.array[0], truth.array[0]
        box = bounding_box((p > 0) | (t > 0))
        slices = (slice(0, 1),) * 3 if box is None else box.slices
        return cls(p[slices].copy(), t[slices].copy(), prediction.spacing_mm, prediction.grid.voxel_ml)


@dataclass(frozen=True)
class Trial:
    """One operation tried: the mean Dice with it, what it gains, and whether it was adopted, with the reason."""

    structure: str
    does: str
    mean_dice: float
    gain: float
    cases_better: int
    cases_worse: int
    adopted: bool
    reason: str


@dataclass(frozen=True)
class Choice:
    """What was chosen, the mean Dice of each structure before and after, and every trial in order."""

    chosen: PostProcessing
    before: dict[str, float]
    after: dict[str, float]
    trials: tuple[Trial, ...]

    def to_json(self) -> dict[str, Any]:
        return self.chosen.to_json() | {
            "mean_dice": {"before": float(np.mean(list(self.before.values()))),
                          "after": float(np.mean(list(self.after.values())))},
            "structures_dice": {name: {"before": self.before[name], "after": self.after[name]} for name in self.before},
            "min_gain": MIN_GAIN,
            "tried": [asdict(trial) for trial in self.trials],
        }  # fmt: skip


def choose(cases: Sequence[Judged], target: Target, on_trial: Callable[[int, int], None] | None = None) -> Choice:
    """Greedy, as nnU-Net chooses: in each round the operation that gains most mean Dice is adopted, if it may be.

    It may be where mean Dice rises by more than 0.001, no structure's mean falls, and more cases get better than
    worse. What gains nothing in one round is not tried again. Fewer than 3 cases choose nothing. `on_trial` is told
    how many trials of a round are done.
    """
    if not cases:
        raise ValueError("post-processing: there is no case to choose it on")
    chosen = PostProcessing({}, len(cases))
    dice = _dice(cases, target, chosen)
    before, trials = dice, list[Trial]()
    candidates = _candidates(target) if len(cases) >= MIN_CASES else []
    while candidates:
        rounds: list[tuple[Trial, PostProcessing, NDArray[np.float64]]] = []
        for number, (structure, change) in enumerate(candidates, 1):
            tried = _with(chosen, structure, change)
            found = _dice(cases, target, tried)
            rounds.append((_trial(structure, tried, dice, found), tried, found))
            if on_trial:
                on_trial(number, len(candidates))
        allowed = [i for i, (trial, _, _) in enumerate(rounds) if trial.adopted]
        best = max(allowed, key=lambda i: rounds[i][0].gain, default=None)
        for i, (trial, _, _) in enumerate(rounds):
            beaten = trial.adopted and i != best
            trials.append(replace(trial, adopted=False, reason="another gains more") if beaten else trial)
        if best is None:
            break
        _, chosen, dice = rounds[best]
        candidates = [c for i, c in enumerate(candidates) if i != best and rounds[i][0].gain > 0]
    names = target.names
    return Choice(chosen, _means(names, before), _means(names, dice), tuple(trials))


def _candidates(target: Target) -> list[tuple[str, dict[str, Any]]]:
    """Structure and the fields of its `Cleaning` that change."""
    changes: list[dict[str, Any]] = [{"largest": True}, *({"min_ml": ml} for ml in CRUMBS_ML), {"fill_holes": True}]
    return [(name, change) for name in target.names for change in changes]


def _with(chosen: PostProcessing, structure: str, change: dict[str, Any]) -> PostProcessing:
    cleaning = replace(chosen.structures.get(structure, Cleaning()), **change)
    return replace(chosen, structures=dict(chosen.structures) | {structure: cleaning})


def _dice(cases: Sequence[Judged], target: Target, tried: PostProcessing) -> NDArray[np.float64]:
    """Dice (cases, structures), empty masks by the house's rule."""
    predicted, true = target.predicted_sets, target.label_sets
    rows = []
    for case in cases:
        labels = tried.apply(case.prediction, target, case.voxel_ml)
        masks = ((mask_of(labels, predicted[name]), mask_of(case.truth, true[name])) for name in target.names)
        rows.append([METRICS["dice"](MaskPair(p, t, case.spacing_mm)) for p, t in masks])
    return np.array(rows)


def _trial(structure: str, tried: PostProcessing, before: NDArray, after: NDArray) -> Trial:
    change = after.mean(axis=1) - before.mean(axis=1)
    gain, better, worse = float(change.mean()), int((change > 1e-9).sum()), int((change < -1e-9).sum())
    falls = (after.mean(axis=0) < before.mean(axis=0) - 1e-9).any()
    if not (better or worse):
        reason = "changes nothing"
    elif gain < 0:
        reason = "costs mean Dice"
    elif gain <= MIN_GAIN:
        reason = f"gains no more than {MIN_GAIN}"
    elif falls:
        reason = "a structure loses by it"
    elif better <= worse:
        reason = "no more cases get better than worse"
    else:
        reason = "helps"
    does = tried.structures[structure].words()
    return Trial(structure, does, float(after.mean()), gain, better, worse, reason == "helps", reason)


def _means(names: Sequence[str], dice: NDArray) -> dict[str, float]:
    return dict(zip(names, dice.mean(axis=0).tolist(), strict=True))
