"""`decaseg import keras`: the RUN it writes works wherever a RUN does, and predicts what Intel's scripts would have."""

from __future__ import annotations

import json

import numpy as np
import pytest

from decaseg.cli import call
from decaseg.importing.intel_data import split_of_2019
from decaseg.storage import nifti
from decaseg.storage.keras_file import read_keras
from decaseg.volume import Volume
from decaseg.workflows.opening import load, open_model
from tests.importing.intel_in_keras import h5py, intel_unet, predicted, save_as_tensorflow
from tests.importing.test_against_keras import brainlike
from tests.synthetic import write_dataset

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
FOUR = ("FLAIR", "T1w", "t1gd", "T2w")
BRAIN = ("edema", "non-enhancing tumor", "enhancing tumour")


@pytest.fixture(scope="module")
def model():
    return intel_unet(2, 1, 1)


@pytest.fixture(scope="module")
def made(model, tmp_path_factory):
    """A folder with the file, the RUN, a data set of BraTS' axes and channels."""
    root = tmp_path_factory.mktemp("imported")
    save_as_tensorflow(model, root / "model.hdf5")
    write_dataset(root / "data", 14, (40, 48, 32), BRAIN, FOUR, LPS)
    arguments = ["--out", f"{root}/run", "--data", f"{root}/data", "--patch", "32", "48", "32"]
    assert call(["import", "keras", f"{root}/model.hdf5", *arguments]) == 0
    return root


def as_intel_did(array, crop):
    """Intel's preprocessing of a (C, X, Y, Z) array: the middle, z-scored with its own moments. Axes with 4 or less to
    spare on a side are cut from the front, as its loader did."""
    starts = [(n - c) // 2 if (n - c) // 2 >= 5 else 0 for n, c in zip(array.shape[1:], crop, strict=True)]
    cut = array[(slice(None), *(slice(s, s + c) for s, c in zip(starts, crop, strict=True)))].astype(np.float64)
    return ((cut - cut.mean((1, 2, 3), keepdims=True)) / cut.std((1, 2, 3), keepdims=True)).astype(np.float32)


def brain(shape, channels=4):
    return (400 + 100 * brainlike(channels, shape)).astype(np.float32)


def test_it_predicts_the_file_as_intel_s_scripts_did(model, tmp_path, made):
    """From NIfTI to probabilities; the image is as large as the crop, so that one window sees what Keras saw."""
    image = brain((32, 48, 32))
    nifti.write(tmp_path / "a.nii.gz", Volume.of(image, LPS))
    out = ["--out", f"{tmp_path}/out", "--probabilities", "--threads", "1", "--precision", "fp32"]
    assert call(["predict", f"{made}/run", f"{tmp_path}/a.nii.gz", *out]) == 0
    truth = predicted(model, as_intel_did(image[:1], (32, 48, 32)))[0]
    (path,) = [p for p in (tmp_path / "out").rglob("*.nii.gz") if p.name != "a.nii.gz"]
    found = nifti.read(path)
    assert found.orientation == "LPS" and truth.std() > 0.01
    np.testing.assert_allclose(found.array[0], truth, atol=1e-4)
    labels = nifti.read(tmp_path / "out" / "a.nii.gz").array[0]
    clear = abs(truth - 0.5) > 1e-4
    np.testing.assert_array_equal(labels[clear], (truth > 0.5)[clear])


@pytest.mark.parametrize("quarter_turn", [False, True])
def test_the_network_s_input_is_intel_s_in_the_middle(quarter_turn, model, tmp_path):
    save_as_tensorflow(model, tmp_path / "m.h5")
    turn = "--rot90" if quarter_turn else "--no-rot90"
    arguments = ["--out", f"{tmp_path}/run", "--patch", "48", "32", "16", turn]
    assert call(["import", "keras", f"{tmp_path}/m.h5", *arguments]) == 0
    predictor = load(tmp_path / "run")
    image = brain((60, 66, 23))
    array = predictor.prepare(Volume.of(image, LPS)).array
    turned = np.rot90(image[:1], axes=(1, 2)) if quarter_turn else image[:1]
    truth = as_intel_did(turned, (48, 32, 16))
    back = np.rot90(truth, -1, axes=(1, 2)) if quarter_turn else truth
    x, y = ((60 - n) // 2 for n in (predictor.window[0], predictor.window[1] - 6))
    window = array[:, x : x + predictor.window[0], y : y + predictor.window[1], :16]
    np.testing.assert_allclose(window, back[:, ::-1, ::-1], atol=1e-5)


def test_split_and_selection_are_the_scripts_own(made):
    splits = json.loads((made / "run" / "splits.json").read_text())
    cases = [f"case_{i:03d}" for i in range(14)]
    order = np.random.RandomState(816).permutation(14)
    assert splits["val"] == sorted(cases[i] for i in order[12:])  # 11 train, 1 validates, 2 test
    assert sorted(splits["train"] + splits["val"]) == cases
    assert "neither trained nor chosen on" in open_model(made / "run").selection()
    train, val, test = split_of_2019([f"BRATS_{i:03d}" for i in range(1, 485)])
    assert (len(train), len(val), len(test)) == (411, 36, 37)


def test_a_model_of_2020_has_no_case_that_was_kept_back(made, tmp_path):
    arguments = ["--out", f"{tmp_path}/run", "--data", f"{made}/data", "--rot90"]
    assert call(["import", "keras", f"{made}/model.hdf5", *arguments]) == 0
    splits = json.loads((tmp_path / "run" / "splits.json").read_text())
    assert len(splits["train"]) == 14 and splits["val"] == []
    assert "every case may have trained" in open_model(tmp_path / "run").selection()


def test_evaluate_export_and_report_take_it(made, tmp_path, capsys):
    quiet = ["--threads", "1", "--no-pictures"]
    arguments = ["--data", f"{made}/data", "--out", f"{tmp_path}/evaluation", *quiet]
    assert call(["evaluate", f"{made}/run", *arguments]) == 0
    assert json.loads((tmp_path / "evaluation" / "metrics.json").read_text())["trained_on"] == []
    arguments = ["--out", f"{tmp_path}/bundle", "--data", f"{made}/data", "--threads", "1"]
    assert call(["export", f"{made}/run", *arguments]) == 0
    assert "parity on 2 whole cases" in capsys.readouterr().out
    parity = json.loads((tmp_path / "bundle" / "bundle.json").read_text())["parity"]
    assert parity["passed"] and parity["disagreement"] <= 1e-3
    assert call(["report", f"{made}/run", "--out", f"{tmp_path}/page.html"]) == 0


def test_nearest_goes_to_openvino_too(made, tmp_path):
    intel_unet(2, 4, 4, "nearest").save(tmp_path / "m.hdf5")
    arguments = ["--out", f"{tmp_path}/run", "--data", f"{made}/data", "--patch", "32", "48", "32"]
    assert call(["import", "keras", f"{tmp_path}/m.hdf5", *arguments]) == 0
    for form in ("openvino", "onnx"):
        arguments = ["--out", f"{tmp_path}/{form}", "--format", form, "--data", f"{made}/data", "--threads", "1"]
        assert call(["export", f"{tmp_path}/run", *arguments]) == 0
        assert json.loads((tmp_path / form / "bundle.json").read_text())["parity"]["passed"]


def test_training_goes_on_from_it(made, tmp_path, capsys):
    few = ["--set", "steps_per_epoch=2", "validation_cases=1", "--epochs", "1", "--threads", "1", "--batch-size", "1"]
    start = ["--from", f"{made}/run", "--target", "whole", "--channels", "FLAIR", "--out", f"{tmp_path}/tuned"]
    assert call(["train", f"{made}/data", *start, *few]) == 0
    assert "all taken over" in capsys.readouterr().err
    before, after = open_model(made / "run").plan, open_model(tmp_path / "tuned").plan
    assert after.network == before.network and after.preprocessing == before.preprocessing
    assert after.preprocessing.normalisation[0].kind == "zscore_centre"
    trained, watched = (json.loads((r / "splits.json").read_text()) for r in (made / "run", tmp_path / "tuned"))
    seen = len(set(trained["train"]) & set(watched["val"]))
    assert seen and f"trained on {seen} of the validation cases" in open_model(tmp_path / "tuned").selection()


def test_there_is_no_training_to_resume(made, capsys):
    """It would begin anew and write over the imported weights."""
    before = (made / "run" / "weights.safetensors").read_bytes()
    assert call(["train", f"{made}/data", "--out", f"{made}/run", "--resume"]) == 2
    assert "was imported, there is no training to go on with" in capsys.readouterr().err
    assert (made / "run" / "weights.safetensors").read_bytes() == before


def test_training_from_a_model_of_unknown_cases_says_so(made, tmp_path):
    crop = ["--patch", "16", "16", "16"]
    assert call(["import", "keras", f"{made}/model.hdf5", "--out", f"{tmp_path}/run", *crop]) == 0
    few = ["--set", "steps_per_epoch=1", "keep=last", "schedule=constant", "validation_cases=0", "--epochs", "1"]
    start = ["--recipe", "original", "--from", f"{tmp_path}/run", "--out", f"{tmp_path}/tuned", "--batch-size", "1"]
    assert call(["train", f"{made}/data", *start, *few, "--threads", "1"]) == 0
    assert "is not known" in open_model(tmp_path / "tuned").selection()


def test_provenance_says_what_was_taken_for_granted(made):
    document = json.loads((made / "run" / "provenance.json").read_text())["imported"]
    assert document["keras_version"] == "2.4.0" and document["wiring_checked"] and not document["quarter_turn"]
    assert document["trained_axes"] == "LPS" and len(document["sha256"]) == 64


def test_a_data_set_of_other_axes_turns_the_kernels(model, made, tmp_path):
    """Trained on files that ran right, anterior, superior, the network is to see them so."""
    write_dataset(tmp_path / "data", 3, (16, 16, 16), BRAIN, FOUR, np.eye(4))
    arguments = ["--out", f"{tmp_path}/run", "--data", f"{tmp_path}/data", "--patch", "16", "16", "16"]
    assert call(["import", "keras", f"{made}/model.hdf5", *arguments]) == 0
    image = brain((16, 16, 16))
    predictor = open_model(tmp_path / "run", precision="fp32").predictor
    found = predictor(Volume.of(image, np.eye(4)), probabilities=True).probabilities.array
    np.testing.assert_allclose(found, predicted(model, as_intel_did(image[:1], (16, 16, 16))), atol=1e-4)


@pytest.mark.parametrize(("words", "said"), [
    (["--patch", "100", "64", "64"], "--patch 100 64 64: each axis must be a multiple of 16"),
    (["--data", "nowhere"], "nowhere: there is no such folder"),
])  # fmt: skip
def test_bad_use_is_one_line_and_leaves_nothing(words, said, made, tmp_path, capsys):
    assert call(["import", "keras", f"{made}/model.hdf5", "--out", f"{tmp_path}/run", *words]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and not (tmp_path / "run").exists()


def test_nothing_is_written_over(made, capsys):
    assert call(["import", "keras", f"{made}/model.hdf5", "--out", f"{made}/run"]) == 2
    assert "exists already" in capsys.readouterr().err


def test_more_inputs_or_outputs_than_the_data_have_are_refused(tmp_path, capsys):
    write_dataset(tmp_path / "data", 2, (16, 16, 16))
    refusals = {
        intel_unet(2, 2, 1): "takes 2 channels, the data have 1",
        intel_unet(2, 1, 4): "has 4 outputs, for labels 0 to 3; the data have no label 3",
    }
    for network, said in refusals.items():
        network.save(tmp_path / "m.hdf5")
        arguments = ["--out", f"{tmp_path}/run", "--data", f"{tmp_path}/data"]
        assert call(["import", "keras", f"{tmp_path}/m.hdf5", *arguments]) == 2
        assert said in capsys.readouterr().err


def test_a_wrong_file_is_one_line_with_what_was_expected_and_found(tmp_path, capsys):
    with h5py.File(tmp_path / "m.hdf5", "w") as file:
        file["model_weights/dense/dense/kernel:0"] = np.ones((3, 4), np.float32)
    assert call(["import", "keras", f"{tmp_path}/m.hdf5", "--out", f"{tmp_path}/run"]) == 2
    error = capsys.readouterr().err
    assert "expected layers encodeA_conv0" in error and "found dense (3 x 4)" in error and error.count("\n") == 1


def test_reading_keeps_the_order_of_layers(model, made):
    assert list(read_keras(made / "model.hdf5").layers) == [layer.name for layer in model.layers]
