"""Many small cases from an OpenVINO bundle are predicted side by side, to the same label maps."""

import re

import numpy as np
import pytest

from decaseg.cli import call
from decaseg.inference.memory import Need
from decaseg.storage import nifti
from decaseg.workflows import predict
from decaseg.workflows.opening import open_model
from tests.synthetic import write_dataset

CASES = 9


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("many"), cases=CASES, seed=3) / "imagesTr"


def test_the_same_label_maps_and_records_as_one_by_one(tiny, images, tmp_path, capsys, monkeypatch):
    chosen = []
    real = predict._streams
    monkeypatch.setattr(predict, "_streams", lambda *words: chosen.append(real(*words)) or chosen[-1])
    for threads in (1, 2):
        words = ["--out", f"{tmp_path}/{threads}", "--threads", f"{threads}"]
        assert call(["predict", f"{tiny}/bundle", f"{images}", *words]) == 0
        said = capsys.readouterr().err
        assert len(re.findall(r"^case_00\d: read .* network", said, re.MULTILINE)) == CASES
    assert chosen == [1, 2]
    for case in sorted(path.name for path in images.iterdir()):
        one, other = (nifti.read(tmp_path / folder / case).array for folder in ("1", "2"))
        np.testing.assert_array_equal(one, other)
    assert call(["predict", f"{tiny}/bundle", f"{images}", "--out", f"{tmp_path}/1", "--threads", "2"]) == 0
    assert "0 predicted" in capsys.readouterr().out  # how it was made does not count


def test_a_bad_image_among_them_is_named_and_what_was_begun_is_whole(tiny, images, tmp_path, capsys):
    for path in images.iterdir():
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / path.name).write_bytes(path.read_bytes())
    bad = tmp_path / "in" / "case_004.nii.gz"
    bad.write_bytes(bad.read_bytes()[:-30])
    words = ["--out", f"{tmp_path}/out", "--threads", "2"]
    assert call(["predict", f"{tiny}/bundle", f"{tmp_path}/in", *words]) == 2
    assert "case_004.nii.gz" in capsys.readouterr().err
    made = sorted((tmp_path / "out").glob("*.nii.gz"))
    assert made and not list((tmp_path / "out").glob(".*.tmp*"))
    for path in made:
        nifti.read(path)
    bad.write_bytes((images / bad.name).read_bytes())
    assert call(["predict", f"{tiny}/bundle", f"{tmp_path}/in", *words]) == 0
    assert f"{CASES - len(made)} predicted" in capsys.readouterr().out


def test_when_it_pays(tiny, monkeypatch):
    predictor = open_model(tiny / "bundle", threads=1).predictor
    small, large = Need(0.3, 0.4, 0.35, 0.01), Need(2.0, 2.0, 2.0, 1.7)
    monkeypatch.setattr(predict, "available_memory_gib", lambda: 8.0)
    assert predict._streams(predictor, [small] * 52, 2) == 2
    assert predict._streams(predictor, [small] * 52, 16) == 13  # a stream for every four cases
    assert predict._streams(predictor, [small] * 7, 16) == 1
    assert predict._streams(predictor, [], 2) == 1
    assert predict._streams(predictor, [small] * 51 + [large], 2) == 1
    monkeypatch.setattr(predict, "available_memory_gib", lambda: 1.1)  # room for one and one more
    assert predict._streams(predictor, [small] * 52, 16) == 1
