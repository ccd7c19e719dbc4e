"""From data to scores through the command line, on a small set with the traits of each of the Decathlon's ten tasks."""

import json

import numpy as np
import pytest

from decaseg.cli import call
from decaseg.storage import nifti
from tests.tasks import TASKS, write_task

TINY = ["--set", "base_filters=4", "max_levels=3", "voxels_per_batch=40000", "steps_per_epoch=3", "epochs=1",
        "validation_cases=1", "--threads", "1", "--device", "cpu"]  # fmt: skip


@pytest.mark.parametrize("name", TASKS)
def test_plan_train_evaluate_and_predict(name, tmp_path, capsys):
    task = TASKS[name]
    data = write_task(tmp_path, task)
    assert call(["plan", f"{data}", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)["plan"]
    how = plan["preprocessing"]
    assert how["spacing_mm"] == pytest.approx(expected_spacing(task), abs=1e-5)
    assert {n["kind"] for n in how["normalisation"]} == {task.normalisation}
    assert how["channels"] == list(task.channels)
    assert [plan["labels"][str(value)] for value in range(1, len(task.structures) + 1)] == list(task.structures)
    thick = how["spacing_mm"][2] >= 2 * how["spacing_mm"][0]
    assert plan["network"]["strides"][1] == ([2, 2, 1] if thick else [2, 2, 2])
    if task.modality == "CT":
        numbers = how["normalisation"][0]
        low, high = task.intensities[0][2:]
        assert low <= numbers["low"] < numbers["mean"] < numbers["high"] <= high

    assert call(["train", f"{data}", "--out", f"{tmp_path}/run", *TINY]) == 0
    words = ["--data", f"{data}", "--out", f"{tmp_path}/evaluation", "--no-pictures", "--threads", "1", "--json"]
    capsys.readouterr()
    assert call(["evaluate", f"{tmp_path}/run", *words]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert list(scores["structures"]) == list(task.structures)
    assert 0 <= scores["mean_dice"] <= 1 and all(len(case) == len(task.structures) for case in scores["cases"].values())

    image = next((data / "imagesTs").iterdir())
    assert call(["predict", f"{tmp_path}/run", f"{image}", "--out", f"{tmp_path}/out", "--threads", "1"]) == 0
    given, made = nifti.read(image), nifti.read(tmp_path / "out" / image.name)
    assert made.shape == given.shape and np.array_equal(made.affine, given.affine)
    assert set(np.unique(made.array)) <= set(range(len(task.structures) + 1))


def expected_spacing(task):
    """The median, or the 10th percentile of slices that are thick: half way between the thinnest two of six."""
    if task.median_spacing_mm[2] < 3 * task.median_spacing_mm[0]:
        return task.spacing_mm
    return (*task.spacing_mm[:2], 0.5 * ((task.thinnest_mm or task.spacing_mm[2]) + task.spacing_mm[2]))


def test_the_sets_have_what_is_hard_about_the_tasks(tmp_path):
    """Else the test above could pass on sets that are all alike."""

    def labels(name, value):
        folder = write_task(tmp_path / name, TASKS[name], cases=12, seed=1)
        return [int((nifti.read(path).array == value).sum()) for path in sorted((folder / "labelsTr").iterdir())]

    tumours = labels("Task03_Liver", 2)
    assert 0 in tumours and 0 < min(n for n in tumours if n) < 30
    assert max(labels("Task06_Lung", 1)) < 60
    spleens = [nifti.read(p) for p in sorted((write_task(tmp_path, TASKS["Task09_Spleen"]) / "imagesTr").iterdir())]
    assert sorted({v.spacing_mm[2] for v in spleens}) == pytest.approx([1.5, 1.60001, 5.0, 8.0])
    assert all(v.array.min() == -1024 for v in spleens) and len({v.shape for v in spleens}) > 3
    heart = nifti.read(next((write_task(tmp_path, TASKS["Task02_Heart"]) / "imagesTr").iterdir())).array[0]
    assert (heart == 0).mean() > 0.5
    bytes_or_floats = {
        nifti.read(p).array.dtype for p in (write_task(tmp_path, TASKS["Task04_Hippocampus"]) / "imagesTr").iterdir()
    }
    assert bytes_or_floats == {np.dtype(np.uint8), np.dtype(np.float32)}
