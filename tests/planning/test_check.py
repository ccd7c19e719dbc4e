"""Every fault that would spoil a training is named, with its file, and nothing else is."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from decaseg.planning.check import Problem, problems, quick_problems, refuse, voxel_problems
from decaseg.storage import nifti
from decaseg.storage.layouts import read_dataset
from decaseg.volume import Volume
from tests.synthetic import write_dataset

Spoil = Callable[[Path], Any]


def found_in(root: Path) -> list[Problem]:
    return list(problems(read_dataset(root)))


def image(root: Path, number: int = 1) -> Path:
    return root / f"imagesTr/case_{number:03d}.nii.gz"


def label(root: Path, number: int = 1) -> Path:
    return root / f"labelsTr/case_{number:03d}.nii.gz"


def changed(path: Path, change: Callable[[np.ndarray], np.ndarray | None], affine: np.ndarray | None = None) -> None:
    """Rewrites a file with its voxels changed, in place or to what `change` returns."""
    volume = nifti.read(path)
    array = volume.array.copy()
    new = change(array)
    nifti.write(path, Volume.of(array if new is None else new, volume.affine if affine is None else affine))


def document(root: Path, **changes: Any) -> None:
    path = root / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def put(position: int, value: float, dtype: str = "f4") -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array = array.astype(dtype)
        array.reshape(-1)[position] = value
        return array

    return change


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def twisted(path: Path) -> None:
    loaded = nib.load(path)
    voxels = np.asarray(loaded.dataobj)
    loaded = nib.Nifti1Image(voxels, np.eye(4))
    loaded.set_qform(np.diag([1, 1, 2, 1]), 1)
    loaded.header["sform_code"] = 1
    path.write_bytes(gzip.compress(loaded.to_bytes()))


def without_place(path: Path) -> None:
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[252:256] = b"\0" * 4  # qform_code, sform_code
    path.write_bytes(gzip.compress(raw))


def shifted(millimetres: float) -> np.ndarray:
    affine = np.eye(4)
    affine[0, 3] = millimetres
    return affine


QUICK: dict[str, tuple[Spoil, Callable[[Path], Path], str]] = {
    "missing image": (lambda root: image(root).unlink(), image, "is not there"),
    "missing label": (lambda root: label(root).unlink(), label, "is not there"),
    "another shape": (lambda root: changed(label(root), lambda a: a[:, :-1]), label, "is 23 x 28 x 20 voxels"),
    "swapped axes": (lambda root: changed(label(root), lambda a: a.transpose(0, 1, 3, 2)), label, "axes swapped"),
    "another place": (lambda root: changed(label(root), lambda a: a, shifted(3)), label, "3 mm away from its image"),
    "too many channels": (lambda root: changed(image(root), lambda a: np.repeat(a, 2, 0)), image, "has 2 channels"),
    "too few channels": (lambda root: document(root, modality={"0": "a", "1": "b"}), image, "has 1 channel, but"),
    "label of channels": (lambda root: changed(label(root), lambda a: np.repeat(a, 2, 0)), label, "with 2 channels"),
    "no header": (lambda root: image(root).write_bytes(b"x" * 400), image, "not a NIfTI file"),
    "empty file": (lambda root: image(root).write_bytes(b""), image, "truncated"),
}
FULL: dict[str, tuple[Spoil, Callable[[Path], Path], str]] = {
    "truncated image": (lambda root: truncated(image(root)), image, "truncated"),
    "truncated label": (lambda root: truncated(label(root)), label, "truncated"),
    "NaN": (lambda root: changed(image(root), put(7, np.nan)), image, "1 of 13,440 voxels that are NaN"),
    "infinite": (lambda root: changed(image(root), put(7, -np.inf)), image, "NaN or infinite"),
    "constant": (lambda root: changed(image(root), lambda a: a * 0 + 3), image, "is 3 in every voxel"),
    "zero": (lambda root: changed(image(root), lambda a: a * 0), image, "is 0 in every voxel"),
    "fractions": (lambda root: changed(label(root), put(7, 0.5)), label, "1 voxels that are no whole numbers"),
    "NaN in label": (lambda root: changed(label(root), put(7, np.nan)), label, "no whole numbers"),
    "unknown value": (lambda root: changed(label(root), put(7, 9, "u1")), label, "does not name: 9 (1 voxels)"),
    "negative value": (lambda root: changed(label(root), put(7, -1, "i2")), label, "does not name: -1 (1 voxels)"),
    "huge value": (lambda root: changed(label(root), put(7, 70000, "i4")), label, "does not name: 70000"),
    "empty label": (lambda root: changed(label(root), lambda a: a * 0), label, "is an empty label"),
    "image as label": (lambda root: label(root).write_bytes(_ramp()), label, "looks like an image"),
    "twice": (lambda root: image(root, 2).write_bytes(image(root).read_bytes()), lambda r: image(r, 2), "case_001"),
    "lost label": (lambda root: label(root).rename(label(root, 99)), lambda r: label(r, 99), "there is no image"),
    "lost image": (lambda root: image(root).rename(image(root, 99)), lambda r: image(r, 99), "there is no label"),
    "no such structure": (
        lambda root: document(root, labels={"0": "background", "1": "a", "2": "b", "7": "tail"}),
        lambda root: root / "dataset.json",
        '"7": "tail", which occurs in no label',
    ),
    "one label for two": (
        lambda root: document(
            root,
            training=[{"image": f"imagesTr/case_00{n}.nii.gz", "label": "labelsTr/case_000.nii.gz"} for n in range(3)],
        ),
        lambda root: label(root, 0),
        "the label of two cases, case_000 and case_001",
    ),
}


def _ramp() -> bytes:
    return nib.Nifti1Image(np.arange(13440, dtype=np.int32).reshape(24, 28, 20), np.eye(4)).to_bytes()


def test_a_good_data_set_has_no_problems(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, cases=3, channels=("FLAIR", "T1w"))
    assert found_in(root) == [] and quick_problems(read_dataset(root)) == []


@pytest.mark.parametrize("name", [*QUICK, *FULL])
def test_each_fault_is_named_with_its_file_and_the_way_out(tmp_path: Path, name: str) -> None:
    spoil, where, fault = (QUICK | FULL)[name]
    root = write_dataset(tmp_path, cases=3)
    spoil(root)
    errors = [problem for problem in found_in(root) if problem.severity == "error"]
    hits = [problem for problem in errors if problem.file == where(root) and fault in str(problem)]
    assert len(hits) == 1, [str(problem) for problem in errors]
    assert hits[0].fix and len(str(hits[0]).splitlines()) == 1
    quick = quick_problems(read_dataset(root))
    assert (hits[0] in quick) == (name in QUICK)
    assert len(set(errors)) == len(errors)


def test_one_channel_without_contrast_is_named_by_its_name(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, cases=3, channels=("FLAIR", "T1w"))
    changed(image(root), lambda array: array * np.array([1, 0])[:, None, None, None].astype(array.dtype))
    assert [problem.fault for problem in found_in(root)] == [
        "channel 1 T1w is 0 in every voxel, so there is nothing to learn from"
    ]


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda root: twisted(image(root)), "sform says one place"),
        (lambda root: [without_place(image(root, n)) for n in (0, 2)], "qform in force (like 1 other image)"),
        (lambda root: label(root, 2).write_bytes(label(root, 1).read_bytes()), "same label map as case case_001"),
        (lambda root: document(root, training=read(root)["training"][:2]), "not listed in dataset.json, so this"),
        (lambda root: document(root, test=["imagesTs/x.nii.gz", "imagesTs/y.nii.gz"]), "2 of 2 images listed"),
        (lambda root: document(root, test=[copied_to_test(root)]), "same image as training case case_000"),
        (lambda root: truncated(root / listed_test(root)), "truncated"),
    ],
)
def test_what_spoils_nothing_is_a_warning(tmp_path: Path, spoil: Spoil, fault: str) -> None:
    root = write_dataset(tmp_path, cases=3)
    spoil(root)
    found = found_in(root)
    assert any(fault in problem.fault for problem in found), found
    assert {problem.severity for problem in found} - {"notice"} == {"warning"}


def read(root: Path) -> dict[str, Any]:
    return json.loads((root / "dataset.json").read_text())


def copied_to_test(root: Path) -> str:
    (root / "imagesTs").mkdir()
    (root / "imagesTs/x.nii.gz").write_bytes(image(root, 0).read_bytes())
    return "imagesTs/x.nii.gz"


def listed_test(root: Path) -> str:
    document(root, test=[copied_to_test(root)])
    return "imagesTs/x.nii.gz"


def test_grids_may_differ_by_less_than_a_tenth_of_a_voxel(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, cases=3)
    changed(label(root), lambda array: array, shifted(0.09))
    assert found_in(root) == []
    changed(label(root), lambda array: array, shifted(0.11))
    assert [problem.file for problem in found_in(root)] == [label(root)]


def test_several_faults_are_all_named_once_and_hidden_files_are_nobodys(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, cases=4)
    (root / "imagesTr/._case_000.nii.gz").write_bytes(b"macOS")
    (root / "labelsTr/.DS_Store").write_bytes(b"macOS")
    image(root, 0).write_bytes(b"")
    label(root, 1).unlink()
    changed(label(root, 2), lambda array: array * 0)
    files = [problem.file for problem in found_in(root)]
    assert files == [image(root, 0), label(root, 1), label(root, 2)]


def test_progress_counts_cases_and_threads_change_nothing(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, cases=5)
    changed(label(root, 2), lambda array: array * 0)
    steps: list[tuple[int, int]] = []
    one = list(problems(read_dataset(root), 1, lambda done, total: steps.append((done, total))))
    assert steps == [(n, 5) for n in range(1, 6)]
    assert one == list(problems(read_dataset(root), 4))


def test_who_has_read_a_case_can_ask_about_its_voxels(tmp_path: Path) -> None:
    dataset = read_dataset(write_dataset(tmp_path, cases=2))
    files = dataset.case("case_001")
    image, label = nifti.read(image_file := files.image).array, nifti.read(label_file := Path(str(files.label))).array
    assert voxel_problems(dataset, files, image, label) == []
    found = voxel_problems(dataset, files, image * 0, label + 7)
    assert [problem.file for problem in found] == [image_file, label_file]
    with pytest.raises(ValueError, match=r"is 0 in every voxel.*\(and 1 more problem: decaseg check lists all\)$"):
        refuse(found)
    refuse([Problem(image_file, "is odd", "look at it", "warning")])


def test_odd_file_names_stay_on_one_line() -> None:
    problem = Problem(Path("a\nb\udcff.nii"), "is odd", "rename it")
    assert str(problem) == "a b\\udcff.nii: error: is odd; rename it"


@pytest.mark.parametrize("task", ["Task04_Hippocampus", "Task01_FLAIR", "Task01_BrainTumour"])
def test_real_data_sets_are_clean(task: str) -> None:
    root = Path(__file__).parents[3] / "shared" / "data" / task
    if not root.is_dir():
        pytest.skip(f"needs ../shared/data/{task}")
    start = time.process_time()
    found = found_in(root)
    assert [problem for problem in found if problem.severity != "notice"] == []
    assert [problem.rule for problem in found] == (["intensities"] if task == "Task04_Hippocampus" else [])
    assert time.process_time() - start < 60
