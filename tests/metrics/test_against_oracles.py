"""Every metric against the field's own implementations, on real and made masks."""

import numpy as np
import pytest
import surface_distance as deepmind

from decaseg.metrics import METRICS, MaskPair
from decaseg.metrics.surface_elements import element_codes
from tests.metrics.shapes import (
    HIPPOCAMPUS,
    brain_label_maps,
    no_brains,
    on_one_grid,
    perturbed,
    random_pair,
    real_label_maps,
)

SPACINGS = [(1.0, 1.0, 1.0), (0.7, 1.3, 3.0), (2.5, 0.5, 0.9)]
EXACT = 1e-9


def made_pairs():
    for seed in range(6):
        yield f"random {seed}", *random_pair(seed)
    _, truth = random_pair(99)
    for name, prediction in perturbed(truth).items():
        yield name, prediction, truth


def real_pairs():
    maps = real_label_maps(5)
    for i, label in enumerate(maps[:3]):
        for value in (1, 2):
            for name, prediction in perturbed(label == value).items():
                yield f"case {i}, label {value}, {name}", prediction, label == value
    for i, (a, b) in enumerate(zip(maps[1:], maps, strict=False)):
        yield f"cases {i + 1} and {i}", *on_one_grid(a > 0, b > 0)


def all_pairs():
    yield from made_pairs()
    if HIPPOCAMPUS.is_dir():
        yield from real_pairs()


def test_the_real_label_pairs_are_there():
    if not HIPPOCAMPUS.is_dir():
        pytest.skip("no ../shared/data/Task04_Hippocampus: the oracles are asked about made masks only")
    assert len(list(real_pairs())) == 46


@pytest.mark.parametrize("spacing", SPACINGS)
def test_surface_metrics_are_deepminds(spacing):
    for name, prediction, truth in all_pairs():
        theirs = deepmind.compute_surface_distances(truth, prediction, spacing)
        for tolerance_mm in (0.0, 1.0, 2.2):
            pair = MaskPair(prediction, truth, spacing, tolerance_mm)
            nsd = deepmind.compute_surface_dice_at_tolerance(theirs, tolerance_mm)
            assert METRICS["nsd"](pair) == pytest.approx(nsd, abs=EXACT), (name, tolerance_mm)
        hd95 = deepmind.compute_robust_hausdorff(theirs, 95)
        assert METRICS["hd95_mm"](pair) == pytest.approx(hd95, abs=EXACT), name
        areas = np.concatenate([theirs["surfel_areas_gt"], theirs["surfel_areas_pred"]])
        distances = np.concatenate([theirs["distances_gt_to_pred"], theirs["distances_pred_to_gt"]])
        assert METRICS["assd_mm"](pair) == pytest.approx(np.average(distances, weights=areas), abs=EXACT), name
        average = deepmind.compute_average_surface_distance(theirs)
        ours = [
            np.average(d.distances_mm, weights=d.areas_mm2)
            for d in (pair.truth_to_prediction, pair.prediction_to_truth)
        ]
        assert ours == pytest.approx(average, abs=EXACT), name
        assert METRICS["dice"](pair) == pytest.approx(deepmind.compute_dice_coefficient(truth, prediction), abs=EXACT)


def test_overlap_and_surface_dice_are_monais():
    torch = pytest.importorskip("torch")
    monai = pytest.importorskip("monai.metrics")
    confusion = {"sensitivity": "sensitivity", "specificity": "specificity", "precision": "precision"}
    for name, prediction, truth in all_pairs():
        pair = MaskPair(prediction, truth, (0.7, 1.3, 3.0), 1.5)
        p, t = (torch.from_numpy(np.ascontiguousarray(m))[None, None].float() for m in (prediction, truth))
        theirs = {"dice": monai.compute_dice(p, t), "iou": monai.compute_iou(p, t)}
        matrix = monai.get_confusion_matrix(p, t)
        theirs |= {ours: monai.compute_confusion_matrix_metric(word, matrix) for ours, word in confusion.items()}
        both = [torch.cat([1 - m, m], dim=1) for m in (p, t)]
        theirs["nsd"] = monai.compute_surface_dice(*both, [1.5], spacing=(0.7, 1.3, 3.0), use_subvoxels=True)
        for metric, value in theirs.items():
            assert METRICS[metric](pair) == pytest.approx(float(value), abs=2e-6), (name, metric)  # float32 there


def test_monais_hausdorff_distance_differs_by_its_definition_only():
    """MONAI measures between the centres of border voxels and counts them alike; the surfaces lie half a voxel out."""
    torch = pytest.importorskip("torch")
    monai = pytest.importorskip("monai.metrics")
    for name, prediction, truth in made_pairs():
        pair = MaskPair(prediction, truth, (1.0, 1.0, 1.0))
        p, t = (torch.from_numpy(m)[None, None].float() for m in (prediction, truth))
        theirs = float(monai.compute_hausdorff_distance(p, t, percentile=95, include_background=True))
        assert METRICS["hd95_mm"](pair) == pytest.approx(theirs, abs=2.0), name


def test_overlap_and_volumes_are_simpleitks():
    sitk = pytest.importorskip("SimpleITK")
    spacing = (0.7, 1.3, 3.0)

    def image(mask):
        found = sitk.GetImageFromArray(mask.astype(np.uint8).transpose(2, 1, 0))  # ITK arrays are (z, y, x)
        found.SetSpacing(spacing)
        return found

    for name, prediction, truth in all_pairs():
        pair = MaskPair(prediction, truth, spacing)
        overlap = sitk.LabelOverlapMeasuresImageFilter()
        overlap.Execute(image(prediction), image(truth))  # the second is the one that counts as true
        volumes = []
        for mask in (prediction, truth):
            shape = sitk.LabelShapeStatisticsImageFilter()
            shape.Execute(image(mask))
            volumes.append(shape.GetPhysicalSize(1) / 1000)
        theirs = {
            "dice": overlap.GetDiceCoefficient(1),
            "iou": overlap.GetJaccardCoefficient(1),
            "sensitivity": 1 - overlap.GetFalseNegativeError(1),
            "volume_ml": volumes[0],
            "volume_truth_ml": volumes[1],
            "volume_error_ml": abs(volumes[0] - volumes[1]),
        }
        for metric, value in theirs.items():
            assert METRICS[metric](pair) == pytest.approx(value, abs=EXACT), (name, metric)


def test_the_largest_distance_bounds_and_meets_simpleitks_hausdorff():
    """ITK's Hausdorff distance runs between voxel centres of the masks; ours between surfaces: half a voxel apart."""
    sitk = pytest.importorskip("SimpleITK")
    for name, prediction, truth in made_pairs():
        if name == "the same":
            continue
        pair = MaskPair(prediction, truth, (1.0, 1.0, 1.0))
        hausdorff = sitk.HausdorffDistanceImageFilter()
        hausdorff.Execute(*(sitk.GetImageFromArray(m.astype(np.uint8)) for m in (prediction, truth)))
        ours = max(pair.prediction_to_truth.distances_mm[-1], pair.truth_to_prediction.distances_mm[-1])
        assert ours == pytest.approx(hausdorff.GetHausdorffDistance(), abs=3**0.5), name


def test_overlap_and_volumes_are_scikit_images():
    measure, metrics = pytest.importorskip("skimage.measure"), pytest.importorskip("skimage.metrics")
    spacing = (0.7, 1.3, 3.0)
    for name, prediction, truth in all_pairs():
        pair = MaskPair(prediction, truth, spacing)
        table = metrics.contingency_table(truth.astype(np.uint8), prediction.astype(np.uint8)).todense()
        (tn, fp), (fn, tp) = np.asarray(table)
        volumes = [measure.regionprops(m.astype(np.uint8), spacing=spacing)[0].area / 1000 for m in (prediction, truth)]
        theirs = {
            "dice": 2 * tp / (2 * tp + fp + fn),
            "iou": tp / (tp + fp + fn),
            "sensitivity": tp / (tp + fn),
            "specificity": tn / (tn + fp),
            "precision": tp / (tp + fp),
            "volume_ml": volumes[0],
            "volume_truth_ml": volumes[1],
        }
        for metric, value in theirs.items():
            assert METRICS[metric](pair) == pytest.approx(value, abs=EXACT), (name, metric)


def test_the_largest_distance_between_surface_elements_is_scikit_images():
    metrics = pytest.importorskip("skimage.metrics")
    for name, prediction, truth in all_pairs():
        pair = MaskPair(prediction, truth, (1.0, 1.0, 1.0))
        codes = [element_codes(mask) for mask in (prediction, truth)]
        theirs = metrics.hausdorff_distance(*((c != 0) & (c != 255) for c in codes))
        ours = max(pair.prediction_to_truth.distances_mm[-1], pair.truth_to_prediction.distances_mm[-1])
        assert ours == pytest.approx(theirs, abs=EXACT), name


@pytest.mark.skipif(no_brains(), reason="no ../shared/data/Task01_BrainTumour")
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.9, 0.9, 5.0)])
def test_whole_brains_of_two_patients_score_as_with_deepmind_and_monai(spacing):
    """240 x 240 x 155 voxels, nothing cut: the worst that can be predicted short of nothing."""
    torch = pytest.importorskip("torch")
    monai = pytest.importorskip("monai.metrics")
    prediction, truth = (np.isin(label, (2, 3)) for label in brain_label_maps(2))
    pair = MaskPair(prediction, truth, spacing, 2.0)
    theirs = deepmind.compute_surface_distances(truth, prediction, spacing)
    areas = np.concatenate([theirs["surfel_areas_gt"], theirs["surfel_areas_pred"]])
    distances = np.concatenate([theirs["distances_gt_to_pred"], theirs["distances_pred_to_gt"]])
    assert METRICS["hd95_mm"](pair) == pytest.approx(deepmind.compute_robust_hausdorff(theirs, 95), abs=EXACT)
    assert METRICS["nsd"](pair) == pytest.approx(deepmind.compute_surface_dice_at_tolerance(theirs, 2.0), abs=EXACT)
    assert METRICS["assd_mm"](pair) == pytest.approx(np.average(distances, weights=areas), abs=EXACT)
    assert METRICS["dice"](pair) == pytest.approx(deepmind.compute_dice_coefficient(truth, prediction), abs=EXACT)
    p, t = (torch.from_numpy(m)[None, None].float() for m in (prediction, truth))
    matrix = monai.get_confusion_matrix(p, t)
    for metric in ("sensitivity", "specificity", "precision"):
        found = float(monai.compute_confusion_matrix_metric(metric, matrix))
        assert METRICS[metric](pair) == pytest.approx(found, abs=2e-6), metric
    assert METRICS["iou"](pair) == pytest.approx(float(monai.compute_iou(p, t)), abs=2e-6)
