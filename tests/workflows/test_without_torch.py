"""What a bundle needs, and what people read who have no more than that."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "safetensors", *sys.argv[1].split(",")}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from decaseg.cli import call

sys.exit(call(sys.argv[2:]))
"""
LIST = "import sys, json; from decaseg.cli import call; call(sys.argv[1:]); print(json.dumps(sorted(sys.modules)))"
RUNTIME = {"numpy", "nibabel", "openvino", "typer", "decaseg"}
HEAVY = {"torch", "safetensors", "nncf", "onnx", "onnxruntime", "matplotlib", "jinja2", "rich", "pandas"}
SCIPY = {"scipy.ndimage", "scipy.special", "scipy.sparse", "scipy.spatial"}  # nibabel looks whether there is a scipy


def without(missing, *words):
    """The command where torch, safetensors and the libraries `missing` are not installed."""
    return subprocess.run([sys.executable, "-c", PROGRAM, missing, *map(str, words)], capture_output=True, text=True)


@pytest.fixture
def image(tiny):
    return tiny / "data" / "imagesTr" / "case_000.nii.gz"


def test_a_bundle_predicts_with_the_runtime_alone(tiny, image, tmp_path):
    done = without("scipy", "predict", tiny / "bundle", image, "--out", tmp_path / "p", "--tta", "--probabilities")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "p" / "case_000.nii.gz").is_file()


def test_predicting_from_a_bundle_imports_little(tiny, image, tmp_path):
    words = ["predict", f"{tiny}/bundle", f"{image}", "--out", f"{tmp_path}/p"]
    done = subprocess.run([sys.executable, "-c", LIST, *words], capture_output=True, text=True, check=True)
    modules = set(json.loads(done.stdout.splitlines()[-1]))
    packages = {name.partition(".")[0] for name in modules}
    assert packages >= RUNTIME and not packages & HEAVY and not modules & SCIPY


def test_a_bundle_is_evaluated_and_scored_without_torch(tiny, tmp_path):
    arguments = ["--data", tiny / "data", "--out", tmp_path / "e", "--no-pictures"]
    done = without("", "evaluate", tiny / "bundle", *arguments)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "e" / "metrics.json").is_file()


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        ("predict {tiny}/run {image} --out {out}", "train"),
        ("predict {tiny}/bundle {image} --out {out}", "runtime"),
        ("train {tiny}/data --out {out}", "train"),
        ("export {tiny}/run --out {out}", "train"),
        ("evaluate {tiny}/bundle --data {tiny}/data --out {out}", "score"),
        ("score {tiny}/data/labelsTr {tiny}/data/labelsTr --out {out}", "score"),
        ("demo --out {out}", "all"),
    ],
)
def test_what_is_missing_is_one_line_with_the_extra_that_brings_it(tiny, image, tmp_path, words, extra):
    filled = words.format(tiny=tiny, image=image, out=tmp_path / "out").split()
    done = without("scipy,openvino", *filled)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    assert "pip install" in done.stderr and f"'decaseg[{extra}]'" in done.stderr and not (tmp_path / "out").exists()
