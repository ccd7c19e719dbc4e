"""`decaseg export --precision int8` of a network that was really trained, through the command line."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from decaseg.cli import call
from decaseg.storage import nifti
from decaseg.storage.layouts import read_dataset
from decaseg.storage.rundir import RunDir
from decaseg.workflows.evaluate import hash_of_case
from tests.synthetic import write_dataset

openvino = pytest.importorskip("openvino")
pytest.importorskip("nncf")

SETTINGS = ["base_filters=8", "max_levels=3", "validation_cases=1", "steps_per_epoch=60", "epochs=1", "lr=0.01",
            "average_decay=0.9", "rotation_share=0", "scale_share=0", "intensity=false", "mirror=none",
            "threads=1"]  # fmt: skip


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A folder with `data`, a `run` whose Dice is well above 0, and its int8 `bundle`."""
    root = tmp_path_factory.mktemp("learnt")
    write_dataset(root / "data", labels=("ball",))
    assert call(["train", f"{root}/data", "--out", f"{root}/run", "--set", *SETTINGS]) == 0
    assert export(root, "run", "bundle", "--max-drop", "0.02") == 0
    return root


def export(root, run, out, *more):
    options = ["--precision", "int8", "--data", f"{root}/data", "--threads", "1", *more]
    return call(["export", f"{root}/{run}", "--out", f"{root}/{out}", *options])


def document(root, bundle="bundle"):
    return json.loads((root / bundle / "bundle.json").read_text())


def test_the_model_holds_int8_weights_and_quantisers(learnt):
    model = openvino.Core().read_model(str(learnt / "bundle" / "model.xml"))
    int8 = [op for op in model.get_ops() if op.get_type_name() == "Constant" and op.get_element_type().size == 1]
    said = document(learnt)["quantisation"]
    assert sum(op.get_type_name() == "FakeQuantize" for op in model.get_ops()) > 0
    assert 0 < said["int8_layers"] <= len(int8) and said["layers"] == 13
    weights = (learnt / "bundle" / "model.bin").stat().st_size
    assert weights < 0.5 * (learnt / "run" / "weights.safetensors").stat().st_size


def test_its_convolutions_run_in_int8(learnt):
    if not {"avx512_vnni", "avx_vnni", "amx_int8"} & _flags():
        pytest.skip("this processor has no INT8 instructions")
    compiled = openvino.Core().compile_model(str(learnt / "bundle" / "model.xml"), "CPU")
    facts = [op.get_rt_info() for op in compiled.get_runtime_model().get_ops()]
    ran = [f["primitiveType"].astype(str) for f in facts if f["layerType"].astype(str) == "Convolution"]
    assert ran and all(kind.endswith("I8") for kind in ran)


def test_ways_up_are_merged_with_batch_norm_only(learnt):
    """With instance norm merging costs time, see benchmarks/int8. A concatenation is what apart needs."""
    settings = ["norm=batch", "steps_per_epoch=2", *(s for s in SETTINGS if "steps_per_epoch" not in s)]
    assert call(["train", f"{learnt}/data", "--out", f"{learnt}/batch", "--set", *settings]) == 0
    assert export(learnt, "batch", "merged", "--max-drop", "1") == 0
    kinds = {}
    for name in ("bundle", "merged"):
        model = openvino.Core().read_model(str(learnt / name / "model.xml"))
        kinds[name] = {op.get_type_name() for op in model.get_ops()}
    assert "Concat" in kinds["bundle"] and "Concat" not in kinds["merged"]


def _flags():
    from decaseg.storage.processor import cpu_flags

    return cpu_flags()


def test_the_gate_was_its_own_and_is_recorded(learnt):
    parity, said = document(learnt)["parity"], document(learnt)["quantisation"]
    assert parity["passed"] and parity["export"].startswith("openvino int8")
    assert parity["mean_dice_source"] > 0.5, "else the drop says nothing"
    assert parity["mean_dice_source"] - parity["mean_dice_export"] <= 0.02
    assert parity["tolerance"] == {"dice_drop": 0.02, "disagreement": None}
    assert said["met"] and said["max_drop"] == 0.02 and said["rounds"][-1]["drop"] <= 0.02
    assert "INT8" in (learnt / "bundle" / "MODEL_CARD.md").read_text()


def test_calibration_took_training_cases_and_validation_cases_judged(learnt):
    splits, said = json.loads(RunDir(learnt / "run").splits.read_text()), document(learnt)["quantisation"]
    assert said["calibration"]["cases_sha256"] == sorted(hash_of_case(case) for case in splits["train"])
    assert said["judged_sha256"] == sorted(hash_of_case(case) for case in splits["val"])
    assert said["judged_on"] == "validation cases"
    assert said["calibration"]["with_foreground"] >= len(splits["train"])


def test_the_bundle_predicts(learnt, tmp_path, capfd):
    files = read_dataset(learnt / "data").training[0]
    assert call(["predict", f"{learnt}/bundle", f"{files.image}", "--out", f"{tmp_path}", "--threads", "1"]) == 0
    assert "warning" not in capfd.readouterr().err
    found = nifti.read(tmp_path / files.image.name)
    assert set(np.unique(found.array)) == {0, 1}


def test_what_breaks_in_int8_falls_back_to_float(learnt, capfd):
    """One channel 10,000 times as loud, which the next layer undoes in float; one INT8 scale cannot hold all."""
    shutil.copytree(learnt / "run", learnt / "loud")
    path = RunDir(learnt / "loud").weights
    weights = load_file(path)
    for name in ("encoder.0.layers.1.weight", "encoder.0.layers.1.bias"):
        weights[name][0] *= 1e4
    weights["encoder.0.layers.3.weight"][:, 0] /= 1e4
    save_file(weights, path)
    assert export(learnt, "loud", "recovered", "--max-drop", "0.05") == 0
    rounds = document(learnt, "recovered")["quantisation"]["rounds"]
    assert rounds[0]["drop"] > 0.2 and rounds[-1]["drop"] <= 0.05
    assert len(rounds[-1]["float_layers"]) <= 6, "most layers stay in INT8"
    assert "layers in INT8: mean Dice" in capfd.readouterr().err


def test_no_model_that_is_good_enough_is_exit_1_and_no_bundle(learnt, capfd):
    shutil.copytree(learnt / "bundle", learnt / "old")  # a bundle that was good: it must not stand for the new one
    assert export(learnt, "run", "old", "--max-drop", "-0.5") == 1
    assert "no INT8 model met --max-drop -0.5" in capfd.readouterr().out
    assert not (learnt / "old").exists()


def test_time_ends_the_search(learnt, capfd):
    assert export(learnt, "run", "late", "--max-drop", "-0.5", "--minutes", "0.0001") == 1
    assert "0.0001 minutes were not enough" in capfd.readouterr().out
    assert not (learnt / "late").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--precision", "int8"], "--data DATASET"),
        (["--precision", "int8", "--max-drop", "2"], "--max-drop 2"),
        (["--precision", "int8", "--minutes", "0"], "--minutes 0"),
        (["--max-drop", "0.01"], "is for --precision int8"),
        (["--precision", "int8", "--format", "onnx"], "--precision int8"),
    ],
)
def test_bad_use(learnt, tmp_path, capfd, more, said):
    assert call(["export", f"{learnt}/run", "--out", f"{tmp_path}/out", *more]) == 2
    assert said in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_another_data_set_cannot_calibrate(learnt, tmp_path, capfd):
    write_dataset(tmp_path / "data", labels=("ball",), cases=2)
    text = (tmp_path / "data" / "dataset.json").read_text()
    for folder in ("imagesTr", "labelsTr"):
        for path in (tmp_path / "data" / folder).iterdir():
            path.rename(path.with_name(path.name.replace("case", "other")))
    (tmp_path / "data" / "dataset.json").write_text(text.replace("case_", "other_"))
    options = ["--precision", "int8", "--data", f"{tmp_path}/data"]
    assert call(["export", f"{learnt}/run", "--out", f"{tmp_path}/out", *options]) == 2
    assert "holds none of the cases" in capfd.readouterr().err
