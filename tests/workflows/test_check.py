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
        f"{root}/imagesTr/case_000.nii.gz: error: is listed in dataset.json but is not there; "
        "copy it there or take its case out",
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
            "fault": "is listed in dataset.json but is not there",
            "fix": "copy it there or take its case out",
            "severity": "error",
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
