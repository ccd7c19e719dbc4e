"""The model that ships: it is listed, it predicts by its name without torch, and it looks at what it is given."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from decaseg.cli import call
from decaseg.storage import nifti
from decaseg.storage.shipped import shipped
from decaseg.volume import Volume

NAME = "flair-whole-tumor"
REAL = Path(__file__).parents[2].parent / "shared/data/Task01_FLAIR"


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    pytest.importorskip("nilearn")
    from decaseg.data.phantom.variety import draw_varied_case

    folder = tmp_path_factory.mktemp("generated")
    image, label = draw_varied_case(900, 2, 2.0)
    nifti.write(folder / "case.nii.gz", image)
    return folder / "case.nii.gz", label


def dice(found: np.ndarray, true: np.ndarray) -> float:
    return float(2 * (found & true).sum() / max(1, found.sum() + true.sum()))


def test_the_list_says_what_it_is_for_and_how_good(capsys):
    assert call(["models"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert NAME in said and "FLAIR" in said and "Apache-2.0" in said and "no patient" in said
    assert f"next: decaseg predict {NAME}" in said
    assert call(["models", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)[NAME]
    assert document["names"] == [NAME, f"{NAME}/fp16", f"{NAME}/int8", f"{NAME}/run"]
    assert document["scores"]["Task01_FLAIR"]["mean"] >= 0.80


def test_it_is_small_and_its_bundles_passed_their_gates():
    model = shipped()[NAME]
    assert sum(path.stat().st_size for path in model.root.rglob("*") if path.is_file()) < 10e6
    for precision in model.precisions():
        bundle = json.loads((model.root / precision / "bundle.json").read_text())
        assert bundle["parity"]["passed"] and bundle["input_check"] == "brain"
        assert "/" not in json.dumps(bundle["provenance"]["command"])


@pytest.mark.parametrize("name", [NAME, f"{NAME}/int8", f"{NAME}/run"])
def test_it_outlines_a_generated_tumour_by_every_name(generated, tmp_path, name):
    image, label = generated
    assert call(["predict", name, str(image), "--out", str(tmp_path)]) == 0
    found = nifti.read(tmp_path / "case.nii.gz")
    assert found.shape == label.shape
    assert dice(found.array[0] > 0, label.array[0] > 0) > 0.6


def test_it_outlines_real_tumours_without_torch(tmp_path):
    if not REAL.is_dir():
        pytest.skip("needs ../shared/data/Task01_FLAIR")
    cases = ["BraTS2021_00006", "brats_2013_pat0004_1"]
    images = [str(REAL / "imagesTr" / f"{case}.nii.gz") for case in cases]
    code = (
        "import sys; sys.modules['torch'] = None; from decaseg.cli import call; "
        f"sys.exit(call(['predict', '{NAME}', *{images!r}, '--out', {str(tmp_path)!r}]))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    for case in cases:
        true = nifti.read(REAL / "labelsTr" / f"{case}.nii.gz").array[0] > 0
        assert dice(nifti.read(tmp_path / f"{case}.nii.gz").array[0] > 0, true) > 0.85, case


def test_what_is_no_brain_gets_no_mask(generated, tmp_path, capsys):
    image, _ = generated
    brain = nifti.read(image)
    nifti.write(tmp_path / "turned.nii.gz", Volume.of(np.swapaxes(brain.array[0], 1, 2).copy(), brain.affine))
    out = tmp_path / "out"
    assert call(["predict", NAME, str(tmp_path / "turned.nii.gz"), "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert "seems to lie" in said and "--no-input-check" in said and "turned.nii.gz" in said
    assert not (out / "turned.nii.gz").exists()
    assert call(["predict", NAME, str(tmp_path / "turned.nii.gz"), "--out", str(out), "--no-input-check"]) == 0
    assert (out / "turned.nii.gz").exists()


def test_an_unknown_name_lists_the_known_ones(generated, tmp_path, capsys):
    assert call(["predict", "flair-whole-tumour", str(generated[0]), "--out", str(tmp_path)]) == 2
    assert NAME in capsys.readouterr().err
