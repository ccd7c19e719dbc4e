"""Scores of one pair of label maps: decaseg against DeepMind's surface-distance, MONAI, SimpleITK and scikit-image.

    OMP_NUM_THREADS=1 python benchmarks/scores/measure.py ../shared/data/Task01_BrainTumour/labelsTr [--rounds 7]

Each reference computes what it has; decaseg computes that same set, from the label maps on. All run on one thread, one
after the other in every round, so that what else the machine does meets them alike. The process's own CPU time is the
number to read on a shared machine.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import monai.metrics
import numpy as np
import SimpleITK
import skimage.metrics
import surface_distance
import torch

from decaseg.metrics import LESION_RULES, METRICS, MaskPair, score_case
from decaseg.metrics.case import mask_of
from decaseg.storage import nifti

torch.set_num_threads(1)
SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)

REGIONS = {"whole tumor": (1, 2, 3), "tumor core": (2, 3), "enhancing tumor": (3,)}
SPACING = (1.0, 1.0, 1.0)
TOLERANCE_MM = 1.0
Scorer = Callable[[np.ndarray, np.ndarray], Mapping[str, float]]


def ours(*metrics: str) -> Scorer:
    """decaseg, these metrics only."""
    return lambda p, t: {name: METRICS[name](pair) for pair in [MaskPair(p, t, SPACING)] for name in metrics}


def deepmind(p: np.ndarray, t: np.ndarray) -> Mapping[str, float]:
    found = surface_distance.compute_surface_distances(t, p, SPACING)
    areas = np.concatenate([found["surfel_areas_gt"], found["surfel_areas_pred"]])
    distances = np.concatenate([found["distances_gt_to_pred"], found["distances_pred_to_gt"]])
    return {
        "dice": surface_distance.compute_dice_coefficient(t, p),
        "hd95_mm": surface_distance.compute_robust_hausdorff(found, 95),
        "nsd": surface_distance.compute_surface_dice_at_tolerance(found, TOLERANCE_MM),
        "assd_mm": np.average(distances, weights=areas),
    }


def monai_overlap(p: np.ndarray, t: np.ndarray) -> Mapping[str, float]:
    a, b = (torch.from_numpy(m)[None, None].float() for m in (p, t))
    matrix = monai.metrics.get_confusion_matrix(a, b)
    rates = ("sensitivity", "specificity", "precision")
    found = {name: float(monai.metrics.compute_confusion_matrix_metric(name, matrix)) for name in rates}
    return found | {"dice": float(monai.metrics.compute_dice(a, b)), "iou": float(monai.metrics.compute_iou(a, b))}


def monai_surface(p: np.ndarray, t: np.ndarray) -> Mapping[str, float]:
    a, b = (torch.from_numpy(np.stack([~m, m])[None]).float() for m in (p, t))
    more = {"include_background": False, "spacing": SPACING}
    return {
        "hd95_mm": float(monai.metrics.compute_hausdorff_distance(a, b, percentile=95, **more)),
        "nsd": float(monai.metrics.compute_surface_dice(a, b, [TOLERANCE_MM], use_subvoxels=True, **more)),
        "assd_mm": float(monai.metrics.compute_average_surface_distance(a, b, symmetric=True, **more)),
    }


def simpleitk_overlap(p: np.ndarray, t: np.ndarray) -> Mapping[str, float]:
    a, b = (SimpleITK.GetImageFromArray(m.view(np.uint8)) for m in (p, t))
    overlap = SimpleITK.LabelOverlapMeasuresImageFilter()
    overlap.Execute(a, b)
    volumes = [m.sum() / 1000 for m in (p, t)]
    return {
        "dice": overlap.GetDiceCoefficient(1),
        "iou": overlap.GetJaccardCoefficient(1),
        "sensitivity": 1 - overlap.GetFalseNegativeError(1),
        "volume_ml": volumes[0],
        "volume_truth_ml": volumes[1],
    }


def simpleitk_surface(p: np.ndarray, t: np.ndarray) -> Mapping[str, float]:
    """Hausdorff distance and its average, between voxels: near to hd95_mm and assd_mm, not the same."""
    a, b = (SimpleITK.GetImageFromArray(m.view(np.uint8)) for m in (p, t))
    hausdorff = SimpleITK.HausdorffDistanceImageFilter()
    hausdorff.Execute(a, b)
    return {"hd95_mm": hausdorff.GetHausdorffDistance(), "assd_mm": hausdorff.GetAverageHausdorffDistance()}


def scikit_image(p: np.ndarray, t: np.ndarray) -> Mapping[str, float]:
    """Overlap from its contingency table; its hausdorff_distance runs over all voxels of both masks."""
    table = np.asarray(skimage.metrics.contingency_table(t.view(np.uint8), p.view(np.uint8)).todense())
    tn, fp, fn, tp = (table[i] for i in ((0, 0), (0, 1), (1, 0), (1, 1)))
    return {
        "dice": 2 * tp / (2 * tp + fp + fn),
        "iou": tp / (tp + fp + fn),
        "sensitivity": tp / (tp + fn),
        "specificity": tn / (tn + fp),
        "precision": tp / (tp + fp),
    }


def scikit_image_hausdorff(p: np.ndarray, t: np.ndarray) -> Mapping[str, float]:
    return {"hd95_mm": skimage.metrics.hausdorff_distance(p, t)}


REFERENCES: Mapping[str, Scorer] = {
    "DeepMind surface-distance": deepmind,
    "MONAI, overlap": monai_overlap,
    "MONAI, surface": monai_surface,
    "SimpleITK, overlap": simpleitk_overlap,
    "SimpleITK, surface": simpleitk_surface,
    "scikit-image, overlap": scikit_image,
    "scikit-image, hausdorff": scikit_image_hausdorff,
}


def timed(scorer: Scorer, prediction: np.ndarray, truth: np.ndarray) -> tuple[float, float, Mapping[str, float]]:
    """CPU and wall seconds for the three regions together, and the names that came out."""
    wall, cpu = time.perf_counter(), time.process_time()
    for labels in REGIONS.values():
        names = scorer(mask_of(prediction, labels), mask_of(truth, labels))
    return time.process_time() - cpu, time.perf_counter() - wall, names


def predictions(truth: np.ndarray, other: np.ndarray) -> Mapping[str, np.ndarray]:
    """A good one (moved by a voxel or two, ragged), a good one with a stray voxel in a corner, another patient's."""
    ragged = np.where(np.random.default_rng(0).random(truth.shape) < 0.02, 0, np.roll(truth, (1, 2, -1), (0, 1, 2)))
    stray = ragged.copy()
    stray[0, 0, 0] = 3
    return {"good": ragged, "good, a stray voxel": stray, "another patient's": other}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("labels", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    truth, other = (
        nifti.read(path).array[0].astype(np.uint8) for path in sorted(arguments.labels.glob("*.nii.gz"))[:2]
    )
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    print(f"{_processor()}, 1 thread, commit {commit}, {arguments.rounds} rounds, median of a pair of {truth.shape}")
    print("| prediction | reference | its CPU s | its wall s | decaseg CPU s | decaseg wall s | times as fast (CPU) |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for kind, prediction in predictions(truth, other).items():
        rows: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in REFERENCES}
        whole: list[tuple[float, float]] = []
        for _ in range(arguments.rounds):
            for name, scorer in REFERENCES.items():
                theirs = timed(scorer, prediction, truth)
                own = timed(ours(*theirs[2]), prediction, truth)
                rows[name].append((*theirs[:2], *own[:2]))
            wall, cpu = time.perf_counter(), time.process_time()
            score_case(prediction, truth, REGIONS, SPACING, lesions=LESION_RULES["glioma"])
            whole.append((time.process_time() - cpu, time.perf_counter() - wall))
        for name, found in rows.items():
            a, b, c, d = (statistics.median(column) for column in zip(*found, strict=True))
            print(f"| {kind} | {name} | {a:.3f} | {b:.3f} | {c:.3f} | {d:.3f} | {a / c:.1f} |", flush=True)
        cpu, wall = (statistics.median(column) for column in zip(*whole, strict=True))
        print(f"| {kind} | all 16 metrics of decaseg | | | {cpu:.3f} | {wall:.3f} | |", flush=True)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else platform.processor()


if __name__ == "__main__":
    main()
