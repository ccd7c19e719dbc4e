"""All metrics of one case."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decaseg.geometry import Float3, float3
from decaseg.metrics.choices import LESION_METRICS, METRICS
from decaseg.metrics.lesions import LESION_RULES, LesionRule
from decaseg.metrics.pair import MaskPair

DEFAULT_TOLERANCE_MM = 1.0


@dataclass(frozen=True)
class CaseScores:
    """Structure name -> metric name -> value, every value a finite number."""

    structures: Mapping[str, Mapping[str, float]]

    @property
    def mean_dice(self) -> float:
        """The mean over structures."""
        return math.fsum(values["dice"] for values in self.structures.values()) / len(self.structures)


def score_case(
    prediction: NDArray,
    truth: NDArray,
    structures: Mapping[str, tuple[int, ...]],
    spacing_mm: Sequence[float],
    predicted: Mapping[str, tuple[int, ...]] | None = None,
    *,
    tolerances_mm: Mapping[str, float] | None = None,
    lesions: LesionRule | None = None,
    ignored: int | None = None,
) -> CaseScores:
    """Scores one predicted label map against the true one, structure by structure.

    Both are (X, Y, Z) arrays of whole numbers on the same grid of `spacing_mm`. `structures` gives the label values
    that belong to each structure, `predicted` those it has in the prediction where they differ (structures may
    overlap). `tolerances_mm` is what NSD forgives, per structure, 1 mm where it is silent. With `lesions` the
    lesion-wise metrics are computed too, by that rule. Voxels where the truth is `ignored` count for nothing. Empty
    masks follow `metrics.empty`. A ValueError says which argument does not fit.

    >>> truth = np.zeros((8, 8, 8), np.uint8); truth[2:6, 2:6, 2:6] = 1
    >>> score_case(np.roll(truth, 1, axis=0), truth, {"cube": (1,)}, (1, 1, 1)).structures["cube"]["dice"]
    0.75
    """
    spacing = _checked(prediction, truth, structures, spacing_mm)
    predicted = structures if predicted is None else predicted
    tolerances_mm = tolerances_mm or {}
    if set(predicted) != set(structures):
        raise ValueError(f"predicted names {sorted(predicted)} but structures {sorted(structures)}; name the same ones")
    if stray := set(tolerances_mm) - set(structures):
        raise ValueError(f"tolerances_mm names {sorted(stray)}, which are not among {sorted(structures)}")
    metrics = METRICS if lesions is None else METRICS | LESION_METRICS
    rule = lesions or LESION_RULES["glioma"]
    left_out = 0 if ignored is None else int(np.count_nonzero(truth == ignored))
    prediction, truth = without_ignored(prediction, truth, ignored)
    scores = {}
    for name, labels in structures.items():
        tolerance_mm = float(tolerances_mm.get(name, DEFAULT_TOLERANCE_MM))
        if not (math.isfinite(tolerance_mm) and tolerance_mm >= 0):
            raise ValueError(f"tolerances_mm[{name!r}] is {tolerance_mm}; it must be 0 mm or more")
        pair = MaskPair(
            mask_of(prediction, predicted[name]), mask_of(truth, labels), spacing, tolerance_mm, rule, left_out
        )
        scores[name] = {metric: measure(pair) for metric, measure in metrics.items()}
    return CaseScores(scores)


def without_ignored(prediction: NDArray, truth: NDArray, ignored: int | None) -> tuple[NDArray, NDArray]:
    """Both label maps with 0, the background, where the truth is `ignored`; themselves where nothing is."""
    if ignored is None or not (there := truth == ignored).any():
        return prediction, truth
    return np.where(there, 0, prediction), np.where(there, 0, truth)


def mask_of(label_map: NDArray, labels: Sequence[int]) -> NDArray[np.bool_]:
    """The voxels whose value is one of `labels`."""
    mask: NDArray[np.bool_] = np.zeros_like(label_map, dtype=np.bool_)
    if not labels:
        return mask
    mask = label_map == labels[0]
    for label in labels[1:]:
        mask |= label_map == label
    return mask


def _checked(
    prediction: NDArray, truth: NDArray, structures: Mapping[str, tuple[int, ...]], spacing_mm: Sequence[float]
) -> Float3:
    for name, array in (("prediction", prediction), ("truth", truth)):
        if array.ndim != 3:
            raise ValueError(f"{name} has shape {array.shape}; a label map is (X, Y, Z)")
        if array.dtype.kind not in "iub":
            raise ValueError(f"{name} holds {array.dtype} values; a label map holds whole numbers: convert it first")
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction has shape {prediction.shape}, truth {truth.shape}; bring both to one grid")
    if not structures:
        raise ValueError("structures is empty; name at least one, e.g. {'tumor': (1,)}")
    spacing = float3(spacing_mm)
    if not all(math.isfinite(s) and s > 0 for s in spacing):
        raise ValueError(f"spacing_mm is {spacing}; three positive lengths are needed")
    return spacing
