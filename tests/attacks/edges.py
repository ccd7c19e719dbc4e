"""Metrics at the edge, on random pairs: empty, full, one voxel, disjoint, at the border, a class missing everywhere.

A miss (an empty prediction) must never be better than any prediction, nor raise a mean, and where the references are
defined (DeepMind's surface-distance, MONAI, SimpleITK) the values must be theirs. The peers are asked the same: what
does a mean make of a miss?
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decaseg.metrics import METRICS, CaseScores, MaskPair, score_case, summarise
from tests.attacks.campaign import Attack, Bad

EDGES = ("empty", "full", "voxel", "corner", "border", "plane", "box", "noise", "sparse")
SPACINGS = ((1.0, 1.0, 1.0), (0.7, 1.3, 3.0), (2.5, 0.5, 0.9))
EXACT = 1e-9
Mask = NDArray[np.bool_]


def mask(kind: str, shape: tuple[int, int, int], rng: np.random.Generator) -> Mask:
    """A mask of a sort, drawn."""
    made = np.zeros(shape, bool)
    if kind == "full":
        made[:] = True
    elif kind == "voxel":
        made[tuple(int(rng.integers(0, n)) for n in shape)] = True
    elif kind == "corner":
        made[tuple(int(rng.choice([0, n - 1])) for n in shape)] = True
    elif kind == "border":
        made[:] = True
        made[1:-1, 1:-1, 1:-1] = False
    elif kind == "plane":
        made[(slice(None), *(slice(None),) * int(rng.integers(0, 2)), int(rng.integers(0, min(shape))))] = True
    elif kind == "box":
        ends = [sorted(int(n) for n in rng.integers(0, length + 1, 2)) for length in shape]
        made[tuple(slice(low, high + 1) for low, high in ends)] = True
    elif kind == "noise":
        made[:] = rng.random(shape) < 0.5
    elif kind == "sparse":
        made[:] = rng.random(shape) < 0.02
    return made


def pair(rng: np.random.Generator) -> tuple[Mask, Mask, tuple[float, float, float]]:
    """Prediction, truth, spacing: two sorts of masks, now and then the same, or disjoint."""
    shape = tuple(int(n) for n in rng.integers(1, 9, 3))
    kinds = rng.choice(EDGES, 2)
    prediction, truth = (mask(str(kind), (shape[0], shape[1], shape[2]), rng) for kind in kinds)
    relation = rng.random()
    if relation < 0.1:
        prediction = truth.copy()
    elif relation < 0.2:
        prediction = prediction & ~truth
    return prediction, truth, SPACINGS[int(rng.integers(0, len(SPACINGS)))]


def no_better(metric: str, value: float, than: float) -> bool:
    """Is the value worse than the other, or as good?"""
    return value >= than - EXACT if METRICS[metric].better < 0 else value <= than + EXACT


def by_rule(prediction: Mask, truth: Mask, spacing: tuple[float, float, float], others: list[CaseScores]) -> str:
    """Finite, in range; a miss is the worst there is, alone and in the mean of a data set."""
    shown = {"s": (1,)}
    scores = score_case(prediction.astype(np.uint8), truth.astype(np.uint8), shown, spacing).structures["s"]
    miss = score_case(np.zeros(truth.shape, np.uint8), truth.astype(np.uint8), shown, spacing)
    for name, value in scores.items():
        if not math.isfinite(value):
            raise Bad("not finite", f"{name} {value}")
    judged = [name for name, metric in METRICS.items() if metric.better and name != "volume_error_ml"]
    if truth.any():
        for name in judged:
            if not no_better(name, miss.structures["s"][name], scores[name]):
                raise Bad("a miss is better", f"{name}: {miss.structures['s'][name]} than {scores[name]}")
        cases = {f"{n}": other for n, other in enumerate(others)}
        means = [
            summarise(cases | {"last": last}).structures["s"]
            for last in (CaseScores({"s": scores}), miss)
        ]  # fmt: skip
        for name in judged:
            if means[1][name].n != len(cases) + 1 or not no_better(name, means[1][name].mean, means[0][name].mean):
                raise Bad("a miss improved a mean", name)
    elif truth.size and not prediction.any():
        best = {name: 0.0 if METRICS[name].better < 0 else 1.0 for name in judged}
        if any(abs(scores[name] - best[name]) > EXACT for name in judged):
            raise Bad("a class that is nowhere", f"{scores}")
    return "by the rule"


def as_references(prediction: Mask, truth: Mask, spacing: tuple[float, float, float]) -> str:
    """The very values of DeepMind's, MONAI's and SimpleITK's, where both masks hold something."""
    if not (prediction.any() and truth.any()):
        return "references undefined"
    ours = MaskPair(prediction, truth, spacing, 1.0)
    for metric, value in references(prediction, truth, spacing).items():
        found = METRICS[metric.split("@")[0]](ours)
        if not np.isclose(found, value, rtol=2e-6, atol=2e-6):
            raise Bad("unlike a reference", f"{metric}: {found} for {value}")
    return "as the references"


def references(prediction: Mask, truth: Mask, spacing: tuple[float, float, float]) -> dict[str, float]:
    """Metric@program -> value."""
    import surface_distance as deepmind

    theirs = deepmind.compute_surface_distances(truth, prediction, spacing)
    areas = np.concatenate([theirs["surfel_areas_gt"], theirs["surfel_areas_pred"]])
    distances = np.concatenate([theirs["distances_gt_to_pred"], theirs["distances_pred_to_gt"]])
    found = {
        # Where 95 % of the surface are reached exactly (38 of 40 elements) theirs goes on by a rounding error.
        "hd95_mm@DeepMind": deepmind.compute_robust_hausdorff(theirs, 95 - 1e-7),
        "nsd@DeepMind": deepmind.compute_surface_dice_at_tolerance(theirs, 1.0),
        "assd_mm@DeepMind": np.average(distances, weights=areas),
    }
    import monai.metrics as monai
    import SimpleITK as sitk
    import torch

    p, t = (torch.from_numpy(np.ascontiguousarray(m))[None, None].float() for m in (prediction, truth))
    matrix = monai.get_confusion_matrix(p, t)
    found |= {"dice@MONAI": monai.compute_dice(p, t), "iou@MONAI": monai.compute_iou(p, t)}
    words = ("sensitivity", "precision") if truth.all() else ("sensitivity", "precision", "specificity")
    found |= {f"{word}@MONAI": monai.compute_confusion_matrix_metric(word, matrix) for word in words}
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*(sitk.GetImageFromArray(m.astype(np.uint8)) for m in (prediction, truth)))
    found |= {"dice@SimpleITK": overlap.GetDiceCoefficient(1), "iou@SimpleITK": overlap.GetJaccardCoefficient(1)}
    return {name: float(value) for name, value in found.items()}


def monai_dice(prediction: Mask, truth: Mask) -> float:
    import torch
    from monai.metrics import compute_dice

    p, t = (torch.from_numpy(np.ascontiguousarray(m))[None, None].float() for m in (prediction, truth))
    return float(compute_dice(p, t))


def monai_hd95(prediction: Mask, truth: Mask) -> float:
    import torch
    from monai.metrics import compute_hausdorff_distance

    p, t = (torch.from_numpy(np.ascontiguousarray(m))[None, None].float() for m in (prediction, truth))
    return float(compute_hausdorff_distance(p, t, percentile=95, include_background=True))


def deepmind_hd95(prediction: Mask, truth: Mask) -> float:
    import surface_distance as deepmind

    return float(
        deepmind.compute_robust_hausdorff(deepmind.compute_surface_distances(truth, prediction, (1, 1, 1)), 95)
    )


def simpleitk_dice(prediction: Mask, truth: Mask) -> float:
    import SimpleITK as sitk

    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*(sitk.GetImageFromArray(m.astype(np.uint8)) for m in (prediction, truth)))
    return float(overlap.GetDiceCoefficient(1))


PEERS: Mapping[str, tuple[Callable[[Mask, Mask], float], bool]] = {  # and is less better?
    "MONAI compute_dice": (monai_dice, False),
    "SimpleITK Dice": (simpleitk_dice, False),
    "MONAI HD95": (monai_hd95, True),
    "DeepMind robust Hausdorff 95": (deepmind_hd95, True),
}


def by_peer(measure: Callable[[Mask, Mask], float], less: bool, prediction: Mask, truth: Mask) -> str:
    """A miss beside the prediction: a number, no better one; NaN and infinity drop out of means or spoil them."""
    value = measure(prediction, truth)
    if truth.any():
        miss = measure(np.zeros_like(truth), truth)
        if not math.isfinite(miss):
            raise Bad(f"a miss is {miss}", "it drops out of the mean, or spoils it")
        if math.isfinite(value) and (miss < value if less else miss > value):
            raise Bad("a miss is better", f"{miss} than {value}")
    if not math.isfinite(value):
        raise Bad(f"{value}", f"prediction {int(prediction.sum())}, truth {int(truth.sum())} voxels")
    return "a number, and a miss no better"


class Row:
    """One pair of masks."""

    refusals: tuple[type[Exception], ...] = ()

    def __init__(self, folder: Path, peers: bool) -> None:
        self.peers = peers
        rng, shown = np.random.default_rng(0), {"s": (1,)}
        pairs = [(rng.random((5, 6, 7)) < 0.4, rng.random((5, 6, 7)) < 0.4) for _ in range(3)]
        self.others = [score_case(p.astype(np.uint8), t.astype(np.uint8), shown, (1, 1, 1)) for p, t in pairs]

    def __call__(self, index: int, rng: np.random.Generator) -> Iterator[Attack]:
        prediction, truth, spacing = pair(rng)
        yield Attack("decaseg, the rule", lambda: by_rule(prediction, truth, spacing, self.others))
        yield Attack("decaseg, the references", lambda: as_references(prediction, truth, spacing))
        for name, (measure, less) in PEERS.items() if self.peers else ():
            yield Attack(name, lambda m=measure, less=less: by_peer(m, less, prediction, truth), peer=True)
