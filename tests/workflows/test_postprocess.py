import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from decaseg.cli import call
from decaseg.storage import nifti
from decaseg.workflows.opening import open_model
from tests.workflows.test_without_torch import without

EVERYTHING = {"largest": False, "fill_holes": False, "min_ml": 1e6}  # nothing is that large: all of it goes


@pytest.fixture
def run(tiny, tmp_path):
    """A copy of the RUN, since the command writes into it, with four of its cases as validation cases.

    So short a training finds no structure at all; with the last biases moved, every class wins in some places.
    """
    shutil.copytree(tiny / "run", tmp_path / "run")
    image = nifti.read(tiny / "data" / "imagesTr" / "case_000.nii.gz")
    logits, _ = open_model(tiny / "run", device="cpu", precision="fp32", threads=1).predictor.logits(image)
    middle = torch.tensor(np.median(logits.reshape(3, -1), axis=1))
    weights = load_file(tmp_path / "run" / "weights.safetensors")
    for name in (name for name in weights if name.startswith("heads.") and name.endswith(".bias")):
        weights[name] += middle[0] - middle
    save_file(weights, tmp_path / "run" / "weights.safetensors")
    splits = json.loads((tmp_path / "run" / "splits.json").read_text())
    names = sorted(splits["train"] + splits["val"])
    (tmp_path / "run" / "splits.json").write_text(json.dumps({"train": names[4:], "val": names[:4]}))
    return tmp_path / "run"


def choose(run, tiny, *words):
    return call(["postprocess", f"{run}", "--data", f"{tiny}/data", "--threads", "1", *words])


def predicted(model, tiny, out, *words):
    image = tiny / "data" / "imagesTr" / "case_000.nii.gz"
    assert call(["predict", f"{model}", f"{image}", "--out", f"{out}", "--threads", "1", *words]) == 0
    return nifti.read(out / "case_000.nii.gz").array


def emptied(run):
    """The record with a choice that removes one structure wholly."""
    document = json.loads((run / "postprocessing.json").read_text())
    document |= {"structures": {"anterior": EVERYTHING}}
    (run / "postprocessing.json").write_text(json.dumps(document))


def test_it_records_what_was_tried_and_what_was_chosen(run, tiny, capsys):
    assert choose(run, tiny) == 0
    printed = capsys.readouterr().out
    document = json.loads((run / "postprocessing.json").read_text())
    assert document["cases"] == 4 and document["chosen_on"] == [f"case_00{i}" for i in range(4)]
    assert len(document["tried"]) >= 16  # eight operations a structure
    assert document["mean_dice"]["after"] >= document["mean_dice"]["before"]
    for structure in document["structures_dice"].values():
        assert structure["after"] >= structure["before"] - 1e-9
    adopted = [trial for trial in document["tried"] if trial["adopted"]]
    assert bool(adopted) == bool(document["structures"]) == ("chosen: " in printed) != ("nothing helps" in printed)
    assert choose(run, tiny, "--json") == 0
    assert json.loads(capsys.readouterr().out) == document


def test_the_choice_does_to_evaluate_what_it_promised(run, tiny, tmp_path):
    assert choose(run, tiny) == 0
    document = json.loads((run / "postprocessing.json").read_text())
    for words, key in ((["--no-postprocessing"], "before"), ([], "after")):
        out = tmp_path / key
        arguments = ["--data", f"{tiny}/data", "--out", f"{out}", "--no-pictures", "--threads", "1", *words]
        assert call(["evaluate", f"{run}", *arguments]) == 0
        metrics = json.loads((out / "metrics.json").read_text())
        assert metrics["mean_dice"] == pytest.approx(document["mean_dice"][key])
        told = "Post-processing was chosen on 4 validation cases" in metrics["selection"]
        assert told == (metrics["postprocessing"] is not None) == (key == "after" and bool(document["structures"]))


def test_predict_uses_it_unless_told_not_to_and_probabilities_stay(run, tiny, tmp_path):
    assert choose(run, tiny) == 0
    emptied(run)
    plain = predicted(run, tiny, tmp_path / "plain", "--no-postprocessing", "--probabilities")
    assert set(np.unique(plain)) == {0, 1, 2}
    cleaned = predicted(run, tiny, tmp_path / "cleaned", "--probabilities")
    np.testing.assert_array_equal(cleaned, np.where(plain == 1, 0, plain))
    shares = [nifti.read(tmp_path / n / "case_000_probabilities.nii.gz").array for n in ("plain", "cleaned")]
    np.testing.assert_array_equal(*shares)


def test_a_bundle_carries_it_and_needs_no_torch_for_it(run, tiny, tmp_path):
    assert choose(run, tiny) == 0
    emptied(run)
    bundle = tmp_path / "bundle"
    assert call(["export", f"{run}", "--out", f"{bundle}", "--data", f"{tiny}/data", "--threads", "1"]) == 0
    document = json.loads((bundle / "bundle.json").read_text())
    assert document["postprocessing"] == {"structures": {"anterior": EVERYTHING}, "cases": 4}
    assert "case_000" not in (bundle / "bundle.json").read_text()
    assert "Post-processing was chosen on 4 validation cases" in document["selection"]
    assert document["parity"]["passed"] and document["parity"]["mean_dice_source"] < 0.6  # one of two is gone
    assert "anterior: min_ml" in (bundle / "MODEL_CARD.md").read_text()
    image = tiny / "data" / "imagesTr" / "case_000.nii.gz"
    done = without("scipy", "predict", bundle, image, "--out", tmp_path / "p")
    assert done.returncode == 0, done.stderr
    found = nifti.read(tmp_path / "p" / "case_000.nii.gz").array
    assert set(np.unique(found)) == {0, 2}
    assert set(np.unique(predicted(bundle, tiny, tmp_path / "q", "--no-postprocessing"))) == {0, 1, 2}


def test_a_choice_for_other_weights_is_not_used_and_said(run, tiny, capsys):
    assert choose(run, tiny) == 0
    emptied(run)
    assert open_model(run).predictor.postprocessing is not None
    document = json.loads((run / "postprocessing.json").read_text())
    (run / "postprocessing.json").write_text(json.dumps(document | {"weights_sha256": "0" * 64}))
    opened = open_model(run)
    assert opened.predictor.postprocessing is None
    assert "was chosen for other weights and is not used" in opened.warnings[0]


def test_a_record_that_was_spoilt_is_named(run, tiny, tmp_path, capsys):
    (run / "postprocessing.json").write_text('{"structures": {"liver": {"largest": true}}, "cases": 4}')
    image = tiny / "data" / "imagesTr" / "case_000.nii.gz"
    assert call(["predict", f"{run}", f"{image}", "--out", f"{tmp_path}/p"]) == 2
    assert "postprocessing.json: cleans 'liver', but the model has anterior, posterior" in capsys.readouterr().err


def test_too_few_validation_cases_choose_nothing(tiny, tmp_path, capsys):
    shutil.copytree(tiny / "run", tmp_path / "run")
    val = json.loads((tmp_path / "run" / "splits.json").read_text())["val"]
    assert len(val) < 3
    assert choose(tmp_path / "run", tiny) == 0
    assert "too few to choose by" in capsys.readouterr().err
    assert json.loads((tmp_path / "run" / "postprocessing.json").read_text())["structures"] == {}


def test_what_is_no_run_or_has_no_validation_cases_is_refused(tiny, tmp_path, capsys):
    assert choose(tiny / "bundle", tiny) == 2
    assert "is no RUN" in capsys.readouterr().err
    shutil.copytree(tiny / "run", tmp_path / "run")
    (tmp_path / "run" / "splits.json").write_text('{"train": [], "val": ["other"]}')
    assert choose(tmp_path / "run", tiny) == 2
    assert "none of the validation cases" in capsys.readouterr().err
    assert not (tmp_path / "run" / "postprocessing.json").exists()
