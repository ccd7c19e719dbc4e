"""`decaseg check`: what it prints, where, and its exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from decaseg.storage import nifti
from decaseg.volume import Volume
from decaseg.workflows import check
from decaseg.workflows.check import Wishes
from tests.synthetic import write_dataset


def test_clean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.run(write_dataset(tmp_path, cases=3)) == 0
    said = capsys.readouterr()
    assert said.out == ""
    taken, count = said.err.splitlines()
    assert taken == (
        f"{tmp_path}: taken for a Decathlon folder: 3 cases with labels; channels MRI; structures anterior, posterior"
    )
    assert count == f"{tmp_path}: 3 cases checked, 0 errors, 0 warnings"


def test_a_line_a_problem_and_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_dataset(tmp_path, cases=3)
    (root / "imagesTr/case_000.nii.gz").unlink()
    nifti.write(root / "labelsTr/case_001.nii.gz", Volume.of(np.zeros((24, 28, 20), np.uint8)))
    assert check.run(root) == 1
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        f"{root}/imagesTr/case_000.nii.gz: error: is listed but is not there; "
        "copy it there or take its case out of the list",
        f"{root}/labelsTr/case_001.nii.gz: error: is an empty label: 0, the background, in every voxel; "
        "draw it, or take the case out of dataset.json",
    ]
    assert said.err.endswith("3 cases checked, 2 errors, 0 warnings\n")


def test_json_is_one_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_dataset(tmp_path, cases=3)
    (root / "imagesTr/case_000.nii.gz").unlink()
    assert check.run(root, as_json=True) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["dataset"] == str(root) and document["cases"] == 3 and document["layout"] == "a Decathlon folder"
    assert document["problems"] == [
        {
            "file": f"{root}/imagesTr/case_000.nii.gz",
            "fault": "is listed but is not there",
            "fix": "copy it there or take its case out of the list",
            "severity": "error",
            "rule": "files",
        }
    ]


def test_warnings_alone_are_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_dataset(tmp_path, cases=3)
    document = json.loads((root / "dataset.json").read_text())
    (root / "dataset.json").write_text(json.dumps(document | {"training": document["training"][:2]}))
    assert check.run(root) == 0
    said = capsys.readouterr()
    assert said.out.count("warning: ") == 2
    assert "2 cases checked, 0 errors, 2 warnings" in said.err


def test_no_data_set_is_bad_use(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no dataset\.json"):
        check.run(tmp_path)
    with pytest.raises(ValueError, match="--threads 0"):
        check.run(write_dataset(tmp_path), threads=0)


def test_progress_shows_on_standard_error_only_when_it_takes_long(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decaseg.reporting.progress.PATIENCE_S", -1.0)
    assert check.run(write_dataset(tmp_path, cases=3), as_json=True) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["problems"] == []
    assert "checking cases" in said.err


def test_it_needs_neither_torch_nor_rich(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from decaseg.workflows.check import run; "
        "assert run(Path(sys.argv[1])) == 0; assert not {'torch', 'rich'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(write_dataset(tmp_path, cases=2))], check=True)


def test_strict_warnings_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_dataset(tmp_path, cases=3)
    nifti.write(root / "imagesTr/spare.nii.gz", nifti.read(root / "imagesTr/case_000.nii.gz"))
    nifti.write(root / "labelsTr/spare.nii.gz", nifti.read(root / "labelsTr/case_000.nii.gz"))
    assert check.run(root) == 0
    assert check.run(root, wishes=Wishes(strict=True)) == 1
    clean = write_dataset(tmp_path / "clean", cases=3)
    assert check.run(clean, wishes=Wishes(strict=True)) == 0


def test_many_like_problems_are_counted_but_all_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_dataset(tmp_path, cases=20)
    for file in (root / "labelsTr").iterdir():
        file.unlink()
    for wishes, printed in ((Wishes(), 6), (Wishes(everything=True), 20)):
        capsys.readouterr()
        assert check.run(root, wishes=wishes) == 1
        said = capsys.readouterr()
        assert len(said.out.splitlines()) == printed
        assert "20 errors" in said.err
    assert check.run(root, as_json=True) == 1
    assert len(json.loads(capsys.readouterr().out)["problems"]) == 20


def test_a_manifest_is_written_once_and_compared_ever_after(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, file = write_dataset(tmp_path / "data", cases=3), tmp_path / "sums"
    wishes = Wishes(manifest=file, cache=tmp_path / "cache")
    assert check.run(root, wishes=wishes) == 0
    assert "wrote the SHA-256 sums of 7 files" in capsys.readouterr().err
    assert check.run(root, wishes=wishes) == 0
    assert "all 7 files as they were" in capsys.readouterr().err
    (root / "notes.txt").write_text("new")
    (root / "labelsTr/case_001.nii.gz").unlink()
    path = root / "imagesTr/case_002.nii.gz"
    data = bytearray(path.read_bytes())
    data[4] ^= 1  # the time stamp of gzip, which no reader looks at
    path.write_bytes(data)
    assert check.run(root, wishes=wishes) == 1
    said = capsys.readouterr().out
    for name, words in (
        ("notes.txt", "does not stand in sums"),
        ("labelsTr/case_001.nii.gz", "stands in sums, but is not there"),
        ("imagesTr/case_002.nii.gz", "is not what it was when sums was written"),
    ):
        assert f"{root / name}: error: {words}" in said


def test_a_second_check_reads_no_voxel_and_says_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_dataset(tmp_path / "data", cases=4)
    nifti.write(root / "labelsTr/case_001.nii.gz", Volume.of(np.zeros((24, 28, 20), np.uint8)))
    wishes = Wishes(cache=tmp_path / "cache")
    assert check.run(root, wishes=wishes) == 1
    first = capsys.readouterr()
    read: list[Path] = []
    slabs = nifti.slabs

    def watched(path: Path):  # type: ignore[no-untyped-def]
        read.append(path)
        return slabs(path)

    monkeypatch.setattr(nifti, "slabs", watched)
    assert check.run(root, wishes=wishes) == 1
    assert capsys.readouterr() == first and read == []
    changed = root / "labelsTr/case_001.nii.gz"
    nifti.write(changed, nifti.read(root / "labelsTr/case_002.nii.gz"))
    assert check.run(root, wishes=wishes) == 0
    assert read == [changed]
    read.clear()
    monkeypatch.setattr(check, "code_sum", lambda: "other code")
    assert check.run(root, wishes=wishes) == 0
    assert len(read) == 8


def test_a_damaged_file_is_not_remembered_as_sound(tmp_path: Path) -> None:
    root, wishes = write_dataset(tmp_path / "data", cases=3), Wishes(cache=tmp_path / "cache")
    path = root / "imagesTr/case_000.nii.gz"
    good = path.read_bytes()
    path.write_bytes(good[:-30])
    assert check.run(root, wishes=wishes) == 1
    assert check.run(root, wishes=wishes) == 1
    path.write_bytes(good)
    assert check.run(root, wishes=wishes) == 0


def test_memory_does_not_grow_with_the_image(tmp_path: Path) -> None:
    """A label map of 96 MiB is measured in a process that may take half of that on top of what it starts with."""
    root = write_dataset(tmp_path, cases=2)
    big = np.zeros((256, 256, 768), np.int16)
    big[100:120, 100:120, 100:700] = 1
    big[:, :, 300] += 2
    nifti.write(root / "imagesTr/case_000.nii.gz", Volume.of(big))
    nifti.write(root / "labelsTr/case_000.nii.gz", Volume.of(np.minimum(big, 2)))
    del big
    program = (
        "import resource, sys; from pathlib import Path; from decaseg.workflows import check; "
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024; before = peak(); "
        "check.run(Path(sys.argv[1]), threads=1); print(peak() - before, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(root)], capture_output=True, text=True, check=True)
    assert float(done.stderr.splitlines()[-1]) < 48, done.stderr
