"""Which files make an image together, and which only look as if they did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from decaseg.storage import nifti
from decaseg.storage.layouts.grouping import Wanted, group
from decaseg.volume import Volume

FOUR = Wanted(("FLAIR", "T1w", "t1gd", "T2w"), (0, 1, 2, 3), 4)
TWO_OF_FOUR = Wanted(("FLAIR", "T2w"), (0, 3), 4)
FLAIR, MRI = Wanted(("FLAIR",), (0,), 4), Wanted(("MRI",), (0,), 1)


def files(root: Path, *names: str, channels: int = 1) -> list[Path]:
    for name in names:
        nifti.write(root / name, Volume.of(np.ones((channels, 2, 2, 2), np.uint8)))
    return [root / name for name in names]


def grouped(paths: list[Path], wanted: Wanted) -> dict[str, list[str]]:
    return {one.case: [path.name.removesuffix(".nii.gz") for path in one.images] for one in group(paths, wanted).cases}


@pytest.mark.parametrize(
    ("names", "wanted", "found"),
    [
        ("a_0000 a_0001 a_0002 a_0003 b_0000 b_0001 b_0002 b_0003", FOUR,
         {"a": "a_0000 a_0001 a_0002 a_0003", "b": "b_0000 b_0001 b_0002 b_0003"}),
        ("a_0000 a_0001 a_0002 a_0003", TWO_OF_FOUR, {"a": "a_0000 a_0003"}),
        ("a_0000 b_0000", MRI, {"a": "a_0000", "b": "b_0000"}),
        ("patient_0001 patient_0002 patient_0100", MRI,
         {f"patient_{n}": f"patient_{n}" for n in ("0001", "0002", "0100")}),
        ("case_0000 case_0001", MRI, {"case_0000": "case_0000", "case_0001": "case_0001"}),
        ("p-t2w p-T1 p-FLAIR p-t1ce p-seg", FOUR, {"p": "p-FLAIR p-T1 p-t1ce p-t2w"}),
        ("p_t2 p_flair p_t1", TWO_OF_FOUR, {"p": "p_flair p_t2"}),
        ("p_t2 p_flair p_t1", FLAIR, {"p": "p_flair"}),
        ("p_t1 q_t1", MRI, {"p_t1": "p_t1", "q_t1": "q_t1"}),
        ("p_t1 p_t2", MRI, {"p_t1": "p_t1", "p_t2": "p_t2"}),
        ("BraTS2021_00000_t2 BraTS2021_00000_flair BraTS2021_00000_seg", FLAIR,
         {"BraTS2021_00000": "BraTS2021_00000_flair"}),
        ("sub-1_ses-2_T2w sub-1_ses-2_FLAIR sub-1_ses-2_desc-x_dseg", TWO_OF_FOUR,
         {"sub-1_ses-2": "sub-1_ses-2_FLAIR sub-1_ses-2_T2w"}),
        ("a b", MRI, {"a": "a", "b": "b"}),
    ],
)  # fmt: skip
def test_names_make_cases(tmp_path: Path, names: str, wanted: Wanted, found: dict[str, str]) -> None:
    paths = files(tmp_path, *(f"{name}.nii.gz" for name in names.split()))
    assert grouped(paths, wanted) == {case: members.split() for case, members in found.items()}


def test_numbered_images_of_all_channels_are_images(tmp_path: Path) -> None:
    paths = files(tmp_path, "case_0000.nii.gz", "case_0001.nii.gz", "BraTS2021_00000_t1.nii.gz", channels=4)
    assert len(grouped(paths, FOUR)) == 3


def test_names_that_tell_nothing_count_by_order(tmp_path: Path) -> None:
    paths = files(tmp_path, "p_t2.nii.gz", "p_flair.nii.gz")
    found = group(paths, Wanted(("first", "second"), (0, 1), 2))
    assert [path.name for path in found.cases[0].images] == ["p_flair.nii.gz", "p_t2.nii.gz"]
    assert found.said == ("channels, by order: first = flair, second = t2",)


@pytest.mark.parametrize(
    ("names", "wanted", "fault"),
    [
        ("a_0000 a_0001", FOUR, "case a has the channels 0000, 0001"),
        ("p_t1 p_t2", TWO_OF_FOUR, "needs FLAIR; add the file"),
        ("p_t1 p_t2", Wanted(("x", "y", "z"), (0, 1, 2), 3), "needs 3 channels"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, names: str, wanted: Wanted, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        group(files(tmp_path, *(f"{name}.nii.gz" for name in names.split())), wanted)
