"""torch, OpenVINO and ONNX Runtime label whole real scans alike."""

import json
from pathlib import Path

import numpy as np
import pytest

from decaseg.cli import call
from decaseg.inference.predictor import Predictor
from decaseg.storage import nifti
from decaseg.volume import Volume
from decaseg.workflows.opening import open_model

REAL = Path(__file__).parents[3] / "shared" / "data" / "Task04_Hippocampus"
CASES, STEPS = 12, 100


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A short training on a few real cases, exported both ways; the image files that it did not see."""
    if not REAL.is_dir():
        pytest.skip("needs ../shared/data/Task04_Hippocampus")
    root = tmp_path_factory.mktemp("real")
    document = json.loads((REAL / "dataset.json").read_text())
    cases = document["training"]
    for folder in ("imagesTr", "labelsTr"):
        (root / "data" / folder).mkdir(parents=True)
    for case in cases[:CASES]:
        for file in (case["image"], case["label"]):
            (root / "data" / file).symlink_to((REAL / file).resolve())
    few = document | {"training": cases[:CASES], "numTraining": CASES, "test": [], "numTest": 0}
    (root / "data" / "dataset.json").write_text(json.dumps(few))
    settings = ["base_filters=8", "max_levels=3", f"steps_per_epoch={STEPS}", "epochs=1", "validation_cases=0",
                "lr=0.01", "average_decay=0.8", "intensity=false", "deep_supervision=0"]  # fmt: skip
    words = [
        "--out",
        f"{root}/run",
        "--patch",
        "32",
        "48",
        "32",
        "--batch-size",
        "2",
        "--threads",
        "1",
        "--set",
        *settings,
    ]
    assert call(["train", f"{root}/data", *words]) == 0
    for form in ("openvino", "onnx"):
        assert call(["export", f"{root}/run", "--out", f"{root}/{form}", "--format", form, "--threads", "1"]) == 0
    return root, [(REAL / case["image"], REAL / case["label"]) for case in cases[-3:]]


def open_with(trained, engine) -> Predictor:
    root, _ = trained
    if engine.startswith("torch"):
        return open_model(root / "run", precision=engine.split()[1], threads=1).predictor
    return open_model(root / engine, threads=1).predictor


def foreground_dice(one, two):
    return 2 * ((one == two) & (one > 0)).sum() / max(1, (one > 0).sum() + (two > 0).sum())


@pytest.mark.parametrize(("engine", "least"), [("openvino", 0.999), ("onnx", 0.999), ("torch bf16", 0.97)])
@pytest.mark.parametrize("spacing_mm", [None, 1.3])
def test_engines_label_whole_real_cases_alike(trained, engine, least, spacing_mm):
    reference, other = open_with(trained, "torch fp32"), open_with(trained, engine)
    assert other.engine.name == engine.split()[0]
    for image_file, label_file in trained[1]:
        image = nifti.read(image_file)
        if spacing_mm:  # another spacing than the network's, so that maps are brought back by resampling
            image = Volume.of(image.array, np.diag([spacing_mm, spacing_mm, spacing_mm, 1]))
        one, two = reference(image).labels.array, other(image).labels.array
        assert foreground_dice(one, two) >= least and (one == two).mean() >= 0.999
        if not spacing_mm:
            truth = nifti.read(label_file).array
            assert foreground_dice((one > 0).astype(int), (truth > 0).astype(int)) > 0.5  # it has learnt what to find
