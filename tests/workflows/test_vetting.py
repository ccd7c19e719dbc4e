"""What a training looks at before it starts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from decaseg.storage.layouts import read_dataset
from decaseg.workflows.vetting import check_headers, tell_headers
from tests.planning.checks.planting import headed, image, label
from tests.synthetic import write_dataset


def test_sound_headers_are_told_of_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_dataset(tmp_path, cases=3)
    data = read_dataset(root)
    tell_headers(data, check_headers(data))
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"headers checked; decaseg check {root} checks voxels, duplicates and outliers too\n"


def test_warnings_are_printed_and_errors_stop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_dataset(tmp_path, cases=3)
    headed(image(root), lambda header: header.set_qform(np.diag([1.0, 1, 2, 1]), 1))
    data = read_dataset(root)
    tell_headers(data, check_headers(data))
    assert f"{image(root)}: warning: its sform says one place" in capsys.readouterr().err
    label(root).unlink()
    with pytest.raises(ValueError, match=r"is listed but is not there"):
        check_headers(read_dataset(root))
