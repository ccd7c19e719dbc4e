import subprocess
import sys

PROGRAM = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError("torch is not here")

sys.meta_path.insert(0, NoTorch())
from decaseg.cli import call

code = call(sys.argv[1:])
assert "torch" not in sys.modules
sys.exit(code)
"""


def without_torch(*words):
    return subprocess.run([sys.executable, "-c", PROGRAM, *map(str, words)], capture_output=True, text=True)


def test_a_bundle_predicts_without_torch(tiny, tmp_path):
    image = tiny / "data" / "imagesTr" / "case_000.nii.gz"
    done = without_torch("predict", tiny / "bundle", image, "--out", tmp_path / "p", "--tta")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "p" / "case_000.nii.gz").is_file()


def test_a_bundle_is_evaluated_and_scored_without_torch(tiny, tmp_path):
    arguments = ["--data", tiny / "data", "--out", tmp_path / "e", "--no-pictures"]
    done = without_torch("evaluate", tiny / "bundle", *arguments)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "e" / "metrics.json").is_file()


def test_the_blockade_works(tiny, tmp_path):
    image = tiny / "data" / "imagesTr" / "case_000.nii.gz"
    assert without_torch("predict", tiny / "run", image, "--out", tmp_path / "p").returncode != 0
