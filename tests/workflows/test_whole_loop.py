import csv
import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from decaseg.cli import call
from decaseg.storage import nifti
from decaseg.volume import Volume
from decaseg.workflows import export as export_workflow
from tests.synthetic import write_dataset
from tests.workflows.conftest import LEARNT, TINY

METRICS = {"dice", "hd95_mm", "nsd", "sensitivity", "specificity", "precision", "volume_ml"}
PARITY = {"cases", "mean_dice_source", "mean_dice_export", "max_dice_drop"}


def read(path):
    return json.loads(path.read_text())


def check_metrics(document, structures, cases):
    """The shape that the contract gives metrics.json."""
    assert set(document["structures"]) == structures and set(document["cases"]) == cases
    for summary in document["structures"].values():
        assert set(summary) >= METRICS
        for found in summary.values():
            assert set(found) >= {"mean", "ci95", "n"} and found["n"] == len(cases)
            assert found["ci95"][0] <= found["mean"] <= found["ci95"][1]
    for values in document["cases"].values():
        assert set(values) == structures and all(set(v) >= METRICS for v in values.values())
    means = [np.mean([case[s]["dice"] for case in document["cases"].values()]) for s in structures]
    assert document["mean_dice"] == pytest.approx(np.mean(means))


def same_forms(path, image):
    """Do both files put their voxels at the same place, in every way a NIfTI header can say it?"""
    a, b = nib.load(path), nib.load(image)
    assert a.shape[:3] == b.shape[:3]
    np.testing.assert_array_equal(a.affine, b.affine)
    for form in ("get_qform", "get_sform"):
        (one, code), (other, other_code) = getattr(a, form)(coded=True), getattr(b, form)(coded=True)
        assert code == other_code
        assert (one is None) == (other is None) and (one is None or np.array_equal(one, other))


def test_a_run_holds_what_the_contract_says(tiny):
    run = tiny / "run"
    for name in ("plan.json", "recipe.json", "splits.json", "provenance.json", "log.jsonl", "checkpoints/last.pt",
                 "weights.safetensors"):  # fmt: skip
        assert (run / name).is_file(), name
    assert any((run / "tensorboard").iterdir())
    splits = read(run / "splits.json")
    assert sorted(splits["train"] + splits["val"]) == [f"case_{i:03d}" for i in range(6)] and splits["val"]
    assert read(run / "recipe.json")["base_filters"] == 4
    assert {"seed", "data_sha256", "versions", "command"} <= set(read(run / "provenance.json"))
    events = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [e["epoch"] for e in events if e["event"] == "epoch"] == [1, 2]
    assert events[0]["event"] == "start" and events[-1]["event"] == "end" and events[-1]["step"] == 60


def test_tensorboard_shows_the_same_validation_cases_each_time(tiny):
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = loader.EventAccumulator(str(tiny / "run" / "tensorboard"), size_guidance={"images": 0})
    found.Reload()
    val = read(tiny / "run" / "splits.json")["val"][:1]  # of the recipe's one validation case
    assert found.Tags()["images"] == [f"validation/{case}" for case in val]
    steps = [event.step for event in found.Images(f"validation/{val[0]}")]
    assert steps == [event.step for event in found.Scalars("validation_dice/mean")] and steps
    assert all(event.width == 580 for event in found.Images(f"validation/{val[0]}"))


def test_evaluate_predict_score_and_report_agree(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("decaseg.reporting.turning.FRAMES", 4)  # 48 take seconds a case
    data, val = tiny / "data", set(read(tiny / "run" / "splits.json")["val"])
    out = tmp_path / "evaluation"
    drawn = ["--palette", "safe", "--outlines", "--animations", "gif", "webp"]
    assert call(["evaluate", f"{tiny}/run", "--data", f"{data}", *drawn, "--out", f"{out}"]) == 0
    document = read(out / "metrics.json")
    check_metrics(document, {"anterior", "posterior"}, val)
    rows = list(csv.DictReader((out / "metrics.csv").open()))
    assert {(r["case"], r["structure"]) for r in rows} == {(c, s) for c in val for s in ("anterior", "posterior")}
    for case in val:
        image = data / "imagesTr" / f"{case}.nii.gz"
        for part in ("pred", "msk", "img"):
            same_forms(out / "predictions" / f"{case}_{part}.nii.gz", image)
        truth = nifti.read(data / "labelsTr" / f"{case}.nii.gz").array
        np.testing.assert_array_equal(nifti.read(out / "predictions" / f"{case}_msk.nii.gz").array, truth)
        for name in ("png", "gif", "webp"):
            assert (out / "overlays" / f"{case}.{name}").is_file()
            assert name == "png" or (out / "overlays" / f"{case}_3d.{name}").is_file()
    images = [f"{data}/imagesTr/{case}.nii.gz" for case in sorted(val)]
    assert call(["predict", f"{tiny}/bundle", *images, "--out", f"{tmp_path}/predicted", "--probabilities"]) == 0
    for case in val:
        found = nifti.read(tmp_path / "predicted" / f"{case}.nii.gz").array
        wanted = nifti.read(out / "predictions" / f"{case}_pred.nii.gz").array
        assert (found != wanted).mean() < 1e-3  # another engine: a tie may fall elsewhere
        same_forms(tmp_path / "predicted" / f"{case}.nii.gz", data / "imagesTr" / f"{case}.nii.gz")
        chances = nifti.read(tmp_path / "predicted" / f"{case}_probabilities.nii.gz").array
        assert chances.shape == (2, *found.shape[1:]) and chances.min() >= 0 and chances.max() <= 1
        (tmp_path / "predicted" / f"{case}_probabilities.nii.gz").unlink()
    (tmp_path / "labels").mkdir()
    for case in val:
        shutil.copy(data / "labelsTr" / f"{case}.nii.gz", tmp_path / "labels")
    names = ["--labels", "1=anterior", "2=posterior"]
    assert call(["score", f"{tmp_path}/predicted", f"{tmp_path}/labels", "--out", f"{tmp_path}/s", *names]) == 0
    scored = read(tmp_path / "s" / "metrics.json")
    check_metrics(scored, {"anterior", "posterior"}, val)
    assert scored["mean_dice"] == pytest.approx(document["mean_dice"], abs=2e-3)
    assert call(["report", f"{out}"]) == 0
    assert "anterior" in (out / "report" / "index.html").read_text()


@pytest.mark.parametrize(
    ("form", "precision"), [("openvino", "fp16"), ("openvino", "bf16"), ("onnx", "fp32"), ("onnx", "fp16")]
)
def test_every_export_passes_its_gate_and_predicts_the_same(tiny, tmp_path, form, precision):
    arguments = ["--format", form, "--precision", precision, "--data", f"{tiny}/data"]
    assert call(["export", f"{tiny}/run", "--out", f"{tmp_path}/b", *arguments]) == 0
    document = read(tmp_path / "b" / "bundle.json")
    assert document["parity"]["passed"] and set(document["parity"]) >= PARITY and document["precision"] == precision
    assert (tmp_path / "b" / "MODEL_CARD.md").is_file()
    image = f"{tiny}/data/imagesTr/case_000.nii.gz"
    for name, bundle in (("here", tmp_path / "b"), ("there", tiny / "bundle")):
        assert call(["predict", f"{bundle}", image, "--out", f"{tmp_path}/{name}"]) == 0
    here, there = (nifti.read(tmp_path / name / "case_000.nii.gz").array for name in ("here", "there"))
    share = 0.02 if precision == "bf16" else 0.001
    assert np.count_nonzero(here != there) <= share * max(np.count_nonzero(there), 1000)


def test_a_bundle_holds_what_the_contract_says(tiny):
    document = read(tiny / "bundle" / "bundle.json")
    assert set(document) >= {"plan", "preprocessing", "labels", "channels", "precision", "provenance", "parity"}
    assert document["parity"]["passed"] and set(document["parity"]) >= PARITY
    assert document["parity"]["cases"] == len(read(tiny / "run" / "splits.json")["val"])
    assert sorted(p.name for p in (tiny / "bundle").iterdir()) == [
        "MODEL_CARD.md", "bundle.json", "model.bin", "model.xml"]  # fmt: skip
    assert "case_00" not in (tiny / "bundle" / "bundle.json").read_text()  # patients' names stay at home


@pytest.mark.parametrize("form", ["openvino", "onnx"])
def test_members_are_trained_scored_and_exported_as_one_model(tmp_path, form):
    write_dataset(tmp_path / "data")
    words = ["--out", f"{tmp_path}/run", *TINY, "--set", *LEARNT, "steps_per_epoch=40", "base_filters=8", "members=2"]
    assert call(["train", f"{tmp_path}/data", *words]) == 0
    assert read(tmp_path / "run" / "plan.json")["network"]["members"] == 2
    data = ["--data", f"{tmp_path}/data", "--threads", "1"]
    assert call(["export", f"{tmp_path}/run", "--out", f"{tmp_path}/bundle", "--format", form, *data]) == 0
    parity = read(tmp_path / "bundle" / "bundle.json")["parity"]
    assert parity["passed"] and parity["cases"] > 0 and parity["mean_dice_source"] > 0.3


def test_a_damaged_export_fails_its_gate_and_says_so_ever_after(tiny, tmp_path, monkeypatch, capsys):
    real = export_workflow.WRITERS["openvino", "fp32"]

    def damage(*arguments):
        made = real(*arguments)
        path = arguments[1].weights
        weights = np.frombuffer(path.read_bytes(), np.uint8).copy()
        whole = weights[: len(weights) // 4 * 4].view(np.float32)
        whole[(np.abs(whole) > 1e-6) & (np.abs(whole) < 10)] *= -1.5  # weights, not shapes
        path.write_bytes(weights.tobytes())
        return made

    monkeypatch.setitem(export_workflow.WRITERS, ("openvino", "fp32"), damage)
    assert call(["export", f"{tiny}/run", "--out", f"{tmp_path}/b", "--data", f"{tiny}/data"]) == 1
    document = read(tmp_path / "b" / "bundle.json")
    assert document["parity"]["passed"] is False
    assert "failed its gate" in (tmp_path / "b" / "MODEL_CARD.md").read_text()
    capsys.readouterr()
    assert call(["predict", f"{tmp_path}/b", f"{tiny}/data/imagesTr/case_000.nii.gz", "--out", f"{tmp_path}/p"]) == 0
    assert "FAILED its parity gate" in capsys.readouterr().err


def test_an_export_that_nobody_checked_says_so(tiny, tmp_path, capsys):
    assert call(["export", f"{tiny}/run", "--out", f"{tmp_path}/b"]) == 0
    assert read(tmp_path / "b" / "bundle.json")["parity"] is None
    capsys.readouterr()
    assert call(["predict", f"{tmp_path}/b", f"{tiny}/data/imagesTr/case_000.nii.gz", "--out", f"{tmp_path}/p"]) == 0
    assert "without --data" in capsys.readouterr().err


def test_predictions_keep_the_forms_of_an_odd_header(tiny, tmp_path):
    volume = nifti.read(tiny / "data" / "imagesTr" / "case_001.nii.gz")
    affine = np.array([[0, 0, 2.5, -7], [-1.0, 0, 0, 3], [0, 1.5, 0, 11], [0, 0, 0, 1]])
    odd = nib.Nifti1Image(volume.array[0], affine)
    odd.set_qform(affine, 3)
    odd.set_sform(affine, 4)
    nib.save(odd, tmp_path / "odd.nii.gz")
    assert call(["predict", f"{tiny}/bundle", f"{tmp_path}/odd.nii.gz", "--out", f"{tmp_path}/p"]) == 0
    same_forms(tmp_path / "p" / "odd.nii.gz", tmp_path / "odd.nii.gz")


@pytest.mark.parametrize(
    ("target", "labels", "channels", "structures"),
    [
        ("whole", ("anterior", "posterior"), ("MRI",), {"whole"}),
        (
            "brats",
            ("edema", "non-enhancing tumor", "enhancing tumour"),
            ("FLAIR", "T1w", "t1gd", "T2w"),
            {"whole tumor", "tumor core", "enhancing tumor"},
        ),
    ],
)
def test_overlapping_targets_train_and_evaluate(tmp_path, target, labels, channels, structures):
    write_dataset(tmp_path / "data", labels=labels, channels=channels)
    assert call(["train", f"{tmp_path}/data", "--out", f"{tmp_path}/run", "--target", target, *TINY]) == 0
    arguments = ["--data", f"{tmp_path}/data", "--out", f"{tmp_path}/e", "--no-pictures", "--tta"]
    assert call(["evaluate", f"{tmp_path}/run", *arguments]) == 0
    val = set(read(tmp_path / "run" / "splits.json")["val"])
    check_metrics(read(tmp_path / "e" / "metrics.json"), structures, val)
    painted = {int(v) for c in val for v in np.unique(nifti.read(tmp_path / f"e/predictions/{c}_pred.nii.gz").array)}
    assert painted <= ({0, 1} if target == "whole" else {0, 1, 2, 3})


def test_nan_in_an_image_is_bad_input(tiny, tmp_path, capsys):
    array = np.ones((24, 28, 20), np.float32)
    array[3, 3, 3] = np.nan
    nifti.write(tmp_path / "bad.nii.gz", Volume.of(array))
    assert call(["predict", f"{tiny}/bundle", f"{tmp_path}/bad.nii.gz", "--out", f"{tmp_path}/p"]) == 2
    assert "bad.nii.gz" in capsys.readouterr().err
    assert not (tmp_path / "p" / "bad.nii.gz").exists()
