"""Faults that only show when cases are compared. Each is planted and seen; real and clean sets show none."""

from __future__ import annotations

import gzip
import json
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from decaseg.planning.checks.mirrored import _against_most
from decaseg.storage import nifti
from decaseg.volume import Volume
from tests.planning.checks.planting import by_rule, changed, document, found_in, image, label, torso
from tests.synthetic import write_dataset


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return torso(tmp_path)


def both(root: Path, number: int, change) -> None:  # type: ignore[no-untyped-def]
    for path in (image(root, number), label(root, number)):
        changed(path, change)


def test_the_same_image_compressed_otherwise(root: Path) -> None:
    raw = gzip.decompress(image(root, 2).read_bytes())
    image(root, 5).write_bytes(gzip.compress(raw[:148] + b"another".ljust(80) + raw[228:], 9))
    assert image(root, 5).read_bytes() != image(root, 2).read_bytes()
    (problem,) = by_rule(root, "duplicates")
    assert (problem.file, problem.severity) == (image(root, 5), "error")
    assert "holds the same image as case case_002" in problem.fault


def test_the_same_image_in_another_number_type(root: Path) -> None:
    nifti.write(image(root, 5), Volume.of(nifti.read(image(root, 2)).array.astype(np.float32)))
    (problem,) = by_rule(root, "duplicates")
    assert problem.severity == "error" and "in another number type, as case case_002" in problem.fault


@pytest.mark.parametrize("mirrored", [False, True])
def test_nearly_the_same_image(root: Path, mirrored: bool) -> None:
    rng = np.random.default_rng(0)
    array = nifti.read(image(root, 2)).array * 2.5
    array = array[:, ::-1] if mirrored else array
    nifti.write(image(root, 5), Volume.of((array + rng.normal(0, 3, array.shape)).astype(np.float32)))
    (problem,) = by_rule(root, "lookalikes")
    assert (problem.file, problem.severity) == (image(root, 5), "warning")
    assert ("nearly the mirror image of case case_002" if mirrored else "nearly the same image as") in problem.fault


@pytest.mark.parametrize("factor", [0, 1])
def test_a_structure_of_a_strange_size(root: Path, factor: int) -> None:
    def change(array: np.ndarray) -> np.ndarray:
        crumb = np.argwhere(array == 1)[:2]
        array[(array == 1)] = 0
        if factor:
            array[:, 4:-4, 4:-4, 4:-4] = 1
        array[tuple(crumb.T)] = 1
        array[0, 0, 0, 0] = 2  # both structures stay
        return array

    changed(label(root, 3), change)
    found = [problem for problem in by_rule(root, "volumes") if '"liver"' in problem.fault]
    assert [(problem.file, problem.severity) for problem in found] == [(label(root, 3), "warning")]
    assert "the usual are" in found[0].fault


def test_a_structure_that_only_one_case_lacks(root: Path) -> None:
    changed(label(root, 3), lambda array: np.where(array == 2, 0, array).astype(np.uint8))
    (problem,) = by_rule(root, "volumes")
    assert problem.fault == 'has no "spleen" (2), which 7 of 8 cases have'


@pytest.mark.parametrize(
    ("modality", "change", "words"),
    [
        ("MRI", lambda a: (a - 300.0) / 1e4, "spans"),
        ("MRI", lambda a: a * 60.0, r"(58|59|60|61)\S* times the usual"),
        ("CT", lambda a: a + 1024.0, r"lies about 10\d\d above"),
        ("CT", lambda a: a / 4.0, "1/4"),
    ],
)
def test_intensities_on_another_scale(tmp_path: Path, modality: str, change, words: str) -> None:
    root = torso(tmp_path, modality=modality)
    changed(image(root, 3), lambda array: change(array).astype(np.float32))
    (problem,) = by_rule(root, "intensities")
    assert (problem.file, problem.severity) == (image(root, 3), "warning")
    assert re.search(words, problem.fault)


def test_two_scales_are_one_notice(root: Path) -> None:
    for number in (1, 3, 5):
        changed(image(root, number), lambda array: (array * 100.0).astype(np.float32))
    (problem,) = by_rule(root, "intensities")
    assert problem.severity == "notice" and "in 3 of 8 cases (case_001, case_003 and case_005)" in problem.fault


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ((1,), "with left and right exchanged"),
        ((2,), "with front and back exchanged"),
        ((1, 2), "turned by half about the long axis, as when LPS is taken for RAS"),
    ],
)
def test_a_mirrored_case(root: Path, axes: tuple[int, ...], words: str) -> None:
    both(root, 3, lambda array: np.flip(array, axes))
    (problem,) = by_rule(root, "mirrored")
    assert (problem.file, problem.severity) == (image(root, 3), "warning")
    assert words in problem.fault


def test_several_mirrored_cases_are_all_named(tmp_path: Path) -> None:
    root = torso(tmp_path, cases=12)
    for number in (2, 5, 9):
        both(root, number, lambda array: np.flip(array, 1))
    assert [problem.file for problem in by_rule(root, "mirrored")] == [image(root, n) for n in (2, 5, 9)]


def test_a_mirrored_label_alone(root: Path) -> None:
    changed(label(root, 3), lambda array: np.flip(array, 1))
    (problem,) = by_rule(root, "mirrored")
    assert problem.file == label(root, 3) and "fits its image better with left and right exchanged" in problem.fault


def test_storage_order_is_no_mirror(root: Path) -> None:
    """The same anatomy with its axes stored as LPS, and said so."""
    affine = np.diag([-1.0, -1, 1, 1])
    for path in (image(root, 3), label(root, 3)):
        changed(path, lambda array: np.flip(array, (1, 2)), affine)
    assert found_in(root) == []


def test_symmetric_anatomy_raises_no_alarm() -> None:
    """Gains that scatter about nothing are no evidence, however many cases there are."""
    alarms = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        alarms += bool(_against_most(rng.uniform(-0.5, 0.5, rng.integers(5, 60))))
    assert alarms <= 4


def test_organs_on_the_wrong_side(tmp_path: Path) -> None:
    root = torso(tmp_path)
    for number in range(8):
        both(root, number, lambda array: np.flip(array, (1, 2)))
    found = by_rule(root, "sides")
    assert [problem.severity for problem in found] == ["warning", "warning"]
    assert "liver lies on the patient's left in 8 of 8 cases" in found[0].fault
    assert by_rule(torso(tmp_path / "right"), "sides") == []


def test_posterior_in_front_of_anterior(tmp_path: Path) -> None:
    root = torso(tmp_path, names=("posterior", "anterior"))
    (problem,) = by_rule(root, "sides")
    assert '"posterior" lies further anterior than its counterpart in 8 of 8 cases' in problem.fault
    assert by_rule(torso(tmp_path / "right", names=("anterior", "posterior")), "sides") == []


def test_several_scans_of_a_patient(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, cases=4)
    names = ["sub-01_ses-1", "sub-01_ses-2", "sub-02_ses-1", "BraTS-GLI-00005-000"]
    for number, name in enumerate(names):
        image(root, number).rename(root / "imagesTr" / f"{name}.nii.gz")
        label(root, number).rename(root / "labelsTr" / f"{name}.nii.gz")
    document(root, training=[{"image": f"imagesTr/{n}.nii.gz", "label": f"labelsTr/{n}.nii.gz"} for n in names])
    (problem,) = found_in(root)
    assert (problem.rule, problem.severity) == ("patients", "warning")
    assert "several scans of 1 patients (sub-01: sub-01_ses-1 and sub-01_ses-2)" in problem.fault


def test_counts_that_are_not_so(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, cases=3)
    document(root, numTraining=484)
    (problem,) = found_in(root)
    assert problem.severity == "notice" and '"numTraining": 484, but lists 3' in problem.fault


def test_the_decathlons_own_quirks(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "Task09_Spleen", cases=3)
    (problem,) = found_in(root)
    assert (problem.rule, problem.severity) == (
        "decathlon",
        "notice",
    ) and "LPS under headers that say RAS" in problem.fault


BAD = Path(__file__).parents[4] / "shared" / "data" / "bad_inputs"


@pytest.mark.skipif(not BAD.is_dir(), reason="needs ../shared/data/bad_inputs")
def test_real_bad_inputs_are_named(tmp_path: Path) -> None:
    """What its README says of each file, put where such files are found in practice."""
    root = write_dataset(tmp_path, cases=3)
    orphan = (root / "imagesTr/hippocampus_118.nii.gz", BAD / "images/hippocampus_118.nii.gz")
    widow = (root / "labelsTr/hippocampus_010.nii.gz", BAD / "labels/hippocampus_010.nii.gz")
    stranger = (label(root, 1), BAD / "labels/hippocampus_281.nii.gz")
    week = BAD / "lumiere_week056"
    lumiere = (root / "imagesTr/week.nii", week / "CT1.nii"), (root / "labelsTr/week.nii", week / "ct1_seg_mask.nii")
    for target, source in (orphan, widow, stranger, *lumiere):
        target.write_bytes(source.read_bytes())
    training = json.loads((root / "dataset.json").read_text())["training"]
    document(root, training=[*training, {"image": "imagesTr/week.nii", "label": "labelsTr/week.nii"}])
    said: dict[Path, str] = defaultdict(str)
    for problem in found_in(root):
        said[problem.file] += str(problem) * (problem.severity == "error")
    assert "there is no label to this image" in said[orphan[0]]
    assert "there is no image to this label" in said[widow[0]]
    assert "is 512 x 512 x 94 voxels, but its image case_001.nii.gz is 24 x 28 x 20" in said[stranger[0]]
    assert "with its axes swapped" in said[lumiere[1][0]]
