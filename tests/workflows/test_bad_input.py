"""Bad input ends in one line that names the file, the fault and the way out, with the right exit code.

All commands run in this process: they are the same functions that `python -m decaseg` calls.
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from decaseg.storage import nifti
from decaseg.volume import Volume
from tests.storage.small_disk import small_disk
from tests.synthetic import write_dataset

cli = pytest.importorskip("decaseg.cli", reason="needs the command line")

SHAPE = (16, 16, 16)
QUICKLY = ["--recipe", "quick", "--epochs", "1", "--set", "steps_per_epoch=2", "--base-filters", "4"]
QUICKLY += ["--patch", "16", "16", "16", "--device", "cpu"]
Capture = pytest.CaptureFixture[str]


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str


def decaseg(capture: Capture, *words: object) -> Said:
    capture.readouterr()
    try:
        code = cli.main([str(word) for word in words])
    except SystemExit as exit:
        code = exit.code
    said = capture.readouterr()
    return Said(int(code or 0), said.out, said.err)


def assert_one_line(said: Said, names: object, fault: str) -> None:
    """Exit code 2, and besides progress one line: the file, what is wrong, and after a semicolon what to do."""
    assert said.code == 2, said
    assert "Traceback" not in said.err + said.out
    lines = [line for line in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", said.err).splitlines() if line.strip()]
    hits = [line for line in lines if str(names) in line and re.search(fault, line)]
    assert len(hits) == 1, said.err
    assert hits == lines[-1:] and ("; " in hits[0] or "Errno" not in hits[0])


def image(root: Path) -> Path:
    return root / "imagesTr/case_001.nii.gz"


def label(root: Path) -> Path:
    return root / "labelsTr/case_001.nii.gz"


def description(root: Path) -> Path:
    return root / "dataset.json"


def changed(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    volume = nifti.read(path)
    nifti.write(path, Volume.of(change(volume.array.copy()), volume.affine))


def with_first(value: float, dtype: str) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array = array.astype(dtype)
        array[0, 0, 0, 0] = value
        return array

    return change


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


# what happens to the data set, the file that the message names, the words it uses
NO_DATASET = {
    "no dataset.json": (lambda root: description(root).unlink(), lambda root: root, r"no dataset\.json"),
    "broken JSON": (lambda root: description(root).write_text('{"name": '), description, "not valid JSON"),
}
SPOILT = {
    "missing image": (lambda root: image(root).unlink(), image, "not there|no such file"),
    "label of another shape": (
        lambda root: changed(label(root), lambda a: a[..., :-1]),
        label,
        "16 x 16 x 15|16, 16, 15",
    ),
    "empty label": (lambda root: changed(label(root), lambda a: a * 0), label, "empty label"),
    "unknown label value": (lambda root: changed(label(root), with_first(9, "u1")), label, "does not name: 9"),
    "truncated image": (lambda root: truncate(image(root)), image, "truncated"),
    "NaN in image": (lambda root: changed(image(root), with_first(np.nan, "f4")), image, "NaN"),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "data", cases=4, shape=SHAPE)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A RUN of one epoch, for the commands that need a model."""
    folder = tmp_path_factory.mktemp("model")
    data = write_dataset(folder / "data", cases=4, shape=SHAPE)
    words = ["train", data, "--out", folder / "run", *QUICKLY]
    try:
        code = cli.main([str(word) for word in words])
    except SystemExit as exit:
        code = exit.code
    assert not code
    return folder / "run"


def commands(root: Path, out: Path) -> dict[str, list[object]]:
    return {"plan": ["plan", root, "--out", out], "train": ["train", root, "--out", out, *QUICKLY]}


@pytest.mark.parametrize("name", [*NO_DATASET, *SPOILT])
def test_check(root: Path, capsys: Capture, name: str) -> None:
    spoil, where, fault = (NO_DATASET | SPOILT)[name]
    spoil(root)
    said = decaseg(capsys, "check", root)
    if name in NO_DATASET:
        assert_one_line(said, where(root), fault)
        return
    assert said.code == 1 and "Traceback" not in said.err
    assert len([line for line in said.out.splitlines() if re.search(fault, line) and str(where(root)) in line]) == 1
    said = decaseg(capsys, "check", root, "--json")
    assert said.code == 1
    assert [p["file"] for p in json.loads(said.out)["problems"] if p["severity"] == "error"] == [str(where(root))]


@pytest.mark.parametrize("command", ["plan", "train"])
@pytest.mark.parametrize("name", [*NO_DATASET, *SPOILT])
def test_plan_and_train(root: Path, tmp_path: Path, capsys: Capture, name: str, command: str) -> None:
    spoil, where, fault = (NO_DATASET | SPOILT)[name]
    spoil(root)
    assert_one_line(decaseg(capsys, *commands(root, tmp_path / "out")[command]), where(root), fault)
    assert not (tmp_path / "out" / "weights.safetensors").exists()


@pytest.mark.parametrize("name", [*NO_DATASET, *[name for name in SPOILT if name != "empty label"]])
def test_evaluate(root: Path, run: Path, tmp_path: Path, capsys: Capture, name: str) -> None:
    spoil, where, _ = (NO_DATASET | SPOILT)[name]
    spoil(root)
    quick = "--cases", "all", "--no-pictures"
    said = decaseg(capsys, "evaluate", run, "--data", root, "--out", tmp_path / "out", *quick)
    assert_one_line(said, where(root), ".")
    assert not (tmp_path / "out" / "metrics.json").exists()


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--palette", "rainbow"], "--palette rainbow: choose intel or safe"),
        (["--animations", "gif", "avi"], "--animations avi: choose among gif, webp, mp4, or none"),
    ],
)
def test_pictures_that_there_are_not(tmp_path: Path, capsys: Capture, words: list[str], fault: str) -> None:
    said = decaseg(capsys, "evaluate", tmp_path, "--data", tmp_path, "--out", tmp_path / "out", *words)
    assert said.code == 2 and fault in said.err and not (tmp_path / "out").exists()


def three_channels(path: Path) -> None:
    changed(path, lambda array: np.repeat(array, 3, 0))


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda path: path.unlink(), "no such|not there"),
        (truncate, "truncated"),
        (lambda path: path.write_bytes(b"hello"), "truncated|not a NIfTI"),
        (lambda path: path.write_bytes(gzip.compress(b"x" * 999)), "not a NIfTI"),
        (lambda path: changed(path, with_first(np.nan, "f4")), "NaN"),
        (three_channels, "3 channels|channels"),
    ],
)
def test_predict(root: Path, run: Path, tmp_path: Path, capsys: Capture, spoil, fault: str) -> None:
    spoil(image(root))
    said = decaseg(capsys, "predict", run, image(root), "--out", tmp_path / "out")
    assert_one_line(said, image(root), fault)
    assert not (tmp_path / "out/case_001.nii.gz").exists()


def test_predict_without_a_model(root: Path, tmp_path: Path, capsys: Capture) -> None:
    said = decaseg(capsys, "predict", tmp_path / "nowhere", image(root), "--out", tmp_path / "out")
    assert_one_line(said, tmp_path / "nowhere", ".")


@pytest.mark.parametrize(
    ("spoil", "where", "fault"),
    [
        (truncate, label, "truncated"),
        (lambda path: path.unlink(), lambda root: root / "truth/case_001.nii.gz", "no prediction"),
        (lambda path: changed(path, lambda a: a[..., :-1]), label, "shape"),
        (lambda path: changed(path, with_first(0.5, "f4")), label, "whole numbers"),
        (lambda path: changed(path, with_first(9, "u1")), label, "9"),
    ],
)
def test_score(root: Path, tmp_path: Path, capsys: Capture, spoil, where, fault: str) -> None:
    (root / "truth").mkdir()
    for file in (root / "labelsTr").iterdir():
        (root / "truth" / file.name).write_bytes(file.read_bytes())
    spoil(label(root))
    said = decaseg(capsys, "score", root / "labelsTr", root / "truth", "--out", tmp_path / "out")
    assert_one_line(said, where(root), fault)
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_score_without_folders(root: Path, tmp_path: Path, capsys: Capture) -> None:
    said = decaseg(capsys, "score", tmp_path / "nowhere", root / "labelsTr", "--out", tmp_path / "out")
    assert_one_line(said, tmp_path / "nowhere", "no such folder")


@pytest.fixture(params=["read-only", "below a file"])
def unwritable(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    if request.param == "below a file":
        (tmp_path / "file").write_text("I am no folder")
        yield tmp_path / "file" / "out"
    else:
        with small_disk(tmp_path / "disk", 64, read_only=True) as disk:
            yield disk / "out"


@pytest.mark.parametrize("command", ["plan", "train", "evaluate", "predict", "score"])
def test_no_permission_to_write(root: Path, run: Path, unwritable: Path, capsys: Capture, command: str) -> None:
    words = commands(root, unwritable) | {
        "evaluate": ["evaluate", run, "--data", root, "--out", unwritable, "--cases", "all", "--no-pictures"],
        "predict": ["predict", run, image(root), "--out", unwritable],
        "score": ["score", root / "labelsTr", other_folder(root), "--out", unwritable],
    }
    assert_one_line(decaseg(capsys, *words[command]), unwritable.parent, ".")


def other_folder(root: Path) -> Path:
    folder = root / "truth"
    folder.mkdir()
    for file in (root / "labelsTr").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


@pytest.mark.parametrize("command", ["train", "evaluate", "predict", "score"])
def test_full_disk(root: Path, run: Path, tmp_path: Path, capsys: Capture, command: str) -> None:
    with small_disk(tmp_path / "disk", 16) as disk:
        (disk / "filling").write_bytes(b"x" * 12288)  # one block of 4 KiB is left, for folders
        out = disk / "out"
        words = commands(root, out) | {
            "evaluate": ["evaluate", run, "--data", root, "--out", out, "--cases", "all", "--no-pictures"],
            "predict": ["predict", run, root / "imagesTr", "--out", out],
            "score": ["score", root / "labelsTr", other_folder(root), "--out", out],
        }
        assert_one_line(decaseg(capsys, *words[command]), disk, "[Nn]o space")
        left = [file for file in disk.rglob("*") if file.is_file() and file.name != "filling"]
        assert not [file for file in left if file.name.startswith(".") or file.stat().st_size == 0]


def test_the_real_process_says_the_same(root: Path) -> None:
    description(root).unlink()
    words = [sys.executable, "-m", "decaseg", "check", str(root)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert_one_line(Said(done.returncode, done.stdout, done.stderr), root, r"no dataset\.json")
    assert done.stdout == "" and len(done.stderr.splitlines()) == 1
