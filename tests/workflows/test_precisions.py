"""A bundle runs in the precision that was gated, or says that this processor cannot."""

import json
import shutil

import pytest

from decaseg.cli import call
from decaseg.inference.engines import openvino_engine
from decaseg.storage.files import read_json, write_json
from decaseg.workflows.opening import open_model


@pytest.fixture(scope="module")
def half(tiny, tmp_path_factory):
    """A gated bf16 bundle of the tiny run."""
    out = tmp_path_factory.mktemp("half") / "bundle"
    words = ["--precision", "bf16", "--data", f"{tiny}/data", "--threads", "1"]
    assert call(["export", f"{tiny}/run", "--out", f"{out}", *words]) == 0
    return out


def gated_in(bundle, folder, precision):
    """A copy of a bundle whose gate ran in another precision, on another machine."""
    shutil.copytree(bundle, folder)
    document = read_json(folder / "bundle.json")
    document["parity"]["export"] = f"openvino {precision}"
    write_json(folder / "bundle.json", document)
    return open_model(folder, threads=1)


def test_a_bf16_bundle_says_what_was_allowed_and_what_ran(half):
    document = read_json(half / "bundle.json")
    assert document["precision"] == document["compute_precision"] == "bf16"
    assert document["parity"]["tolerance"] == {"dice_drop": 0.002, "disagreement": None}
    opened = open_model(half, threads=1)
    ran = opened.predictor.engine.precision
    assert document["parity"]["export"] == f"openvino {ran}" and ran in ("bf16", "fp32")
    assert opened.warnings == ()


def test_a_bundle_that_was_gated_in_fp32_runs_in_fp32(half, tmp_path):
    opened = gated_in(half, tmp_path / "b", "fp32")  # as exported for bf16 on a processor that has none
    assert opened.predictor.engine.precision == "fp32" and opened.warnings == ()


def test_a_processor_that_computes_in_another_precision_says_so(half, tmp_path, tiny, capsys):
    opened = gated_in(half, tmp_path / "b", "fp16")  # as an ARM processor or AVX-512 FP16 would
    ran = opened.predictor.engine.precision
    if ran == "fp16":
        pytest.skip("this processor computes in fp16")
    assert len(opened.warnings) == 1 and f"gated in fp16, but this processor computes it in {ran}" in opened.warnings[0]
    image = f"{tiny}/data/imagesTr/case_000.nii.gz"
    assert call(["predict", f"{tmp_path}/b", image, "--out", f"{tmp_path}/p", "--threads", "1"]) == 0
    assert "gated in fp16" in capsys.readouterr().err


@pytest.mark.parametrize(("flags", "ran"), [({"avx2"}, "int8 without VNNI"), ({"avx_vnni"}, "int8"), (set(), "int8")])
def test_int8_without_its_instructions_is_another_precision(tiny, tmp_path, monkeypatch, flags, ran):
    monkeypatch.setattr(openvino_engine, "cpu_flags", lambda: frozenset(flags))
    opened = gated_in(tiny / "bundle", tmp_path / "b", "int8")
    assert opened.predictor.engine.precision == ran
    assert [f"gated in int8, but this processor computes it in {ran}" in w for w in opened.warnings] == (
        [] if ran == "int8" else [True]
    )


def test_a_precision_that_nobody_knows_is_one_line(tiny, tmp_path, capsys):
    with pytest.raises(ValueError, match="is to compute in 'fp4', which this version does not know"):
        gated_in(tiny / "bundle", tmp_path / "b", "fp4")


@pytest.mark.parametrize(
    ("words", "known"),
    [(["--precision", "fp64"], "fp32, fp16, bf16"), (["--format", "onnx", "--precision", "bf16"], "fp32, fp16")],
)
def test_an_unknown_precision_names_the_known_ones(tiny, tmp_path, capsys, words, known):
    assert call(["export", f"{tiny}/run", "--out", f"{tmp_path}/b", *words]) == 2
    assert known in capsys.readouterr().err and not (tmp_path / "b").exists()


def test_a_bundle_replaced_by_another_format_keeps_nothing_of_the_old(tiny, tmp_path):
    shutil.copytree(tiny / "bundle", tmp_path / "b")
    words = ["--format", "onnx", "--precision", "fp16"]
    assert call(["export", f"{tiny}/run", "--out", f"{tmp_path}/b", *words]) == 0
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == ["MODEL_CARD.md", "bundle.json", "model.onnx"]
    assert json.loads((tmp_path / "b" / "bundle.json").read_text())["precision"] == "fp16"
