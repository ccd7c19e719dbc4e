"""`decaseg check --fix`: what is mended, what is refused, and that the original stays as it was."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from decaseg.planning import check as checking
from decaseg.storage import nifti
from decaseg.storage.layouts import read_dataset
from decaseg.volume import Volume
from decaseg.workflows import check, mending
from decaseg.workflows.check import Wishes
from tests.planning.checks.planting import changed, document, headed, image, label, torso
from tests.storage.small_disk import small_disk


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return torso(tmp_path / "data")


def put(value: float, place: int = 7):  # type: ignore[no-untyped-def]
    def change(array: np.ndarray) -> np.ndarray:
        array = array.astype(np.float32)
        array.reshape(-1)[place] = value
        return array

    return change


def sums(root: Path) -> dict[str, str]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def fixed(root: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict]:
    before = sums(root)
    capsys.readouterr()
    code = check.run(root, as_json=True, wishes=Wishes(fix=out))
    assert sums(root) == before
    assert not list(out.parent.glob(".*.tmp"))
    mended = json.loads(capsys.readouterr().out)["mended"]
    assert not [p for p in checking.problems(read_dataset(out)) if p.severity == "error"]
    return code, mended


def units(header) -> None:  # type: ignore[no-untyped-def]
    header.set_sform(np.diag([1000.0, 1000, 1000, 1]), 2)
    header.set_qform(np.diag([1000.0, 1000, 1000, 1]), 1)
    header["xyzt_units"] = 3


def sizes_of_its_own(header) -> None:  # type: ignore[no-untyped-def]
    header.set_sform(np.eye(4), 2)
    header["qform_code"], header["pixdim"][1:4] = 0, (1, -1, 1)


def flipped(path: Path) -> None:
    volume = nifti.read(path)
    affine = np.diag([-1.0, 1, 1, 1])
    affine[0, 3] = volume.shape[0] - 1
    nifti.write(path, Volume.of(volume.array[:, ::-1], affine))


def shifted(millimetres: float) -> np.ndarray:
    affine = np.eye(4)
    affine[1, 3] = millimetres
    return affine


def sheared(root: Path) -> None:
    affine = np.eye(4)
    affine[0, 2] = 0.005
    for path in (image(root), label(root)):
        changed(path, lambda array: array, affine)


MENDED = {
    "NaN": (lambda root: changed(image(root), put(np.nan)), "imagesTr", "put 0 for NaN or infinities in 1 voxel"),
    "0.9999": (lambda root: changed(label(root), put(0.9999)), "labelsTr", "rounded 1 voxel, none by more than 0.0001"),
    "float label": (lambda root: changed(label(root), put(0)), "labelsTr", "stored it as whole numbers"),
    "microns": (lambda root: headed(image(root), units), "imagesTr", "in millimetres instead of microns"),
    "forms": (
        lambda root: headed(image(root), lambda header: header.set_qform(np.diag([1.0, 1, 2, 1]), 1)),
        "imagesTr",
        "set its qform to its sform",
    ),
    "two sizes of voxels": (
        lambda root: headed(image(root), sizes_of_its_own),
        "imagesTr",
        "set its voxel sizes and qform to its sform",
    ),
    "label a bit off": (
        lambda root: changed(label(root), lambda array: array, shifted(0.3)),
        "labelsTr",
        "gave it its image's header",
    ),
    "label in LAS": (lambda root: flipped(label(root)), "labelsTr", "reordered its voxels from LAS to its image's RAS"),
    "slight shear": (sheared, "imagesTr", "squared its axes"),
}
REFUSED = {
    "truncated": (lambda root: image(root).write_bytes(image(root).read_bytes()[:-50]), "truncated"),
    "halves": (lambda root: changed(label(root), put(0.5)), "which was meant?"),
    "far away": (lambda root: changed(label(root), lambda array: array, shifted(5)), "what is right cannot be told"),
    "unknown value": (lambda root: changed(label(root), put(9)), "holds 9, which dataset.json does not name"),
    "empty": (lambda root: changed(label(root), lambda array: array * 0), "its label map is empty"),
    "constant": (lambda root: changed(image(root), lambda array: array * 0 + 3), "is 3 wherever it is finite"),
    "channels": (lambda root: changed(image(root), lambda array: np.repeat(array, 2, 0)), "has 2 channels, not 1"),
}


@pytest.mark.parametrize("name", MENDED)
def test_what_can_be_mended_is(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    plant, folder, words = MENDED[name]
    good = nifti.read(image(root)), nifti.read(label(root))
    plant(root)
    code, mended = fixed(root, tmp_path / "out", capsys)
    assert code == 0 and mended["complete"] and mended["cases"] == 8 and mended["left_out"] == []
    assert any(words in done for done in mended["files"][f"{folder}/case_001.nii.gz"]), mended["files"]
    now = nifti.read(image(tmp_path / "out")), nifti.read(label(tmp_path / "out"))
    assert [problem.rule for problem in checking.problems(read_dataset(tmp_path / "out"))] == []
    assert (now[1].array != good[1].array).sum() <= 1 and now[1].array.dtype.kind == "u"
    assert (now[0].array != good[0].array).sum() <= 1
    assert now[0].grid.distance_mm(good[0].affine) < 0.2 and now[1].grid.distance_mm(now[0].affine) < 1e-4
    for file in ("imagesTr/case_002.nii.gz", "labelsTr/case_002.nii.gz"):
        assert (tmp_path / "out" / file).read_bytes() == (root / file).read_bytes()


@pytest.mark.parametrize("name", REFUSED)
def test_the_rest_is_refused_with_the_reason(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    plant, reason = REFUSED[name]
    plant(root)
    code, mended = fixed(root, tmp_path / "out", capsys)
    assert code == 1 and not mended["complete"] and mended["cases"] == 7
    (left_out,) = mended["left_out"]
    assert left_out["case"] == "case_001" and left_out["refused"] and reason in left_out["reason"]
    assert not image(tmp_path / "out").exists() and not label(tmp_path / "out").exists()


def test_duplicates_and_missing_files_are_dropped(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image(root, 5).write_bytes(image(root, 2).read_bytes())
    image(root, 6).unlink()
    code, mended = fixed(root, tmp_path / "out", capsys)
    assert code == 0 and mended["complete"]
    assert [(one["case"], one["refused"]) for one in mended["left_out"]] == [("case_005", False), ("case_006", False)]
    assert not label(tmp_path / "out", 6).exists()


def test_dataset_json_is_put_right(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = json.loads((root / "dataset.json").read_text())
    training = [
        {key: path.replace("./", "").replace("/", "\\") for key, path in pair.items()} for pair in old["training"]
    ]
    document(
        root,
        training=training,
        numTraining=99,
        labels=old["labels"] | {"7": "tail"},
        test=["imagesTs/gone.nii.gz"],
        licence="CC",
    )
    text = (root / "dataset.json").read_text().replace('"numTest": 0, ', "")
    (root / "dataset.json").write_text(text)
    (root / "LICENCE.txt").write_text("CC")
    code, mended = fixed(root, tmp_path / "out", capsys)
    new = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert code == 0 and new["numTraining"] == 8 and new["numTest"] == 0 and new["licence"] == "CC"
    assert new["training"] == old["training"] and new["labels"] == old["labels"] and new["test"] == []
    assert (tmp_path / "out" / "LICENCE.txt").read_text() == "CC"
    words = "; ".join(mended["files"]["dataset.json"])
    for said in ('took out "7": "tail"', "lists 0 test images instead of 1", "numTraining 8 instead of 99", "with /"):
        assert said in words


def test_a_rounded_value_that_nobody_named_is_refused(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only the copy shows it: 8.9999 becomes 9."""
    changed(label(root), put(8.9999))
    code, mended = fixed(root, tmp_path / "out", capsys)
    assert code == 1 and mended["left_out"][0]["case"] == "case_001"
    assert "does not name: 9" in mended["left_out"][0]["reason"]
    assert not image(tmp_path / "out").exists()


def test_lines_for_people(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed(image(root), put(np.nan))
    changed(label(root, 2), put(0.5))
    assert check.run(root, wishes=Wishes(fix=tmp_path / "out")) == 1
    said = capsys.readouterr()
    assert f"{tmp_path}/out/imagesTr/case_001.nii.gz: mended: put 0 for NaN" in said.out
    assert "case_002: refused: its label map has 1 voxel that are no whole numbers" in said.out
    assert "7 cases in the mended copy, 2 files mended, 13 files copied as they were, 1 case left out" in said.err


def test_files_mended_alike_are_counted(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(8):
        headed(image(root, number), units)
    for wishes, printed in ((Wishes(fix=tmp_path / "a"), 6), (Wishes(fix=tmp_path / "b", everything=True), 8)):
        capsys.readouterr()
        assert check.run(root, wishes=wishes) == 0
        said = capsys.readouterr().out
        assert said.count("mended:") == printed and ("mended: and 3 more like these" in said) == (printed == 6)


@pytest.mark.parametrize("place", ["data/inside", "data", "full", "file"])
def test_places_that_will_not_do(root: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match=r"^--fix .*(is there already|lies in the data set)"):
        check.run(root, wishes=Wishes(fix=tmp_path / place))


def test_nothing_to_mend_is_an_error(tmp_path: Path) -> None:
    root = torso(tmp_path / "data", cases=2)
    for number in range(2):
        image(root, number).write_bytes(b"")
    with pytest.raises(ValueError, match=r"no case of .* can be mended"):
        check.run(root, wishes=Wishes(fix=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_failure_leaves_nothing(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed(image(root), put(np.nan))

    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device", "x")

    monkeypatch.setattr(mending.nifti, "write", broken)
    with pytest.raises(OSError, match="No space"):
        check.run(root, wishes=Wishes(fix=tmp_path / "out"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_a_small_disk_is_refused_before_anything_is_written(root: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 16) as disk, pytest.raises(ValueError, match="name another disk"):
        check.run(root, wishes=Wishes(fix=disk / "out"))


def test_what_a_killed_run_left_goes(root: Path, tmp_path: Path) -> None:
    left = tmp_path / ".out.0123abcd.tmp"
    shutil.copytree(root, left)
    assert check.run(root, wishes=Wishes(fix=tmp_path / "out")) == 0
    assert not left.exists()
