"""Faults that headers show: grids, forms, affines, units. Each is planted and seen; a clean set shows none."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decaseg.inference.predictor import MAX_SHEAR as REFUSED_BY_PREDICTION
from decaseg.planning.checks.affines import MAX_SHEAR
from decaseg.planning.checks.grids import reordering
from decaseg.storage import nifti
from decaseg.volume import Grid, Volume
from tests.planning.checks.planting import by_rule, changed, found_in, headed, image, label, torso

ORIENTATIONS = [
    (axes, signs) for axes in itertools.permutations(range(3)) for signs in itertools.product((1, -1), repeat=3)
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return torso(tmp_path, cases=5)


def stored(array: np.ndarray, affine: np.ndarray, axes: tuple[int, ...], signs: tuple[int, ...]) -> Volume:
    """The same volume in the same place with its axes in another order and direction."""
    step = np.zeros((4, 4))
    step[3, 3] = 1
    for new, (old, sign) in enumerate(zip(axes, signs, strict=True)):
        step[old, new] = sign
        step[old, 3] = 0 if sign > 0 else array.shape[old] - 1
    turned = array.transpose(axes)[tuple(slice(None, None, sign) for sign in signs)]
    return Volume.of(np.ascontiguousarray(turned), affine @ step)


def test_a_clean_set_has_nothing_to_say(root: Path) -> None:
    assert found_in(root) == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(one=st.sampled_from(ORIENTATIONS), other=st.sampled_from(ORIENTATIONS), seed=st.integers(0, 99))
def test_a_label_in_another_orientation_is_seen_and_put_back_exactly(one, other, seed: int) -> None:
    rng = np.random.default_rng(seed)
    array = rng.integers(0, 9, (4, 5, 6))
    affine = np.eye(4)
    affine[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.5, 3, 3)
    affine[:3, 3] = rng.uniform(-50, 50, 3)
    first, second = stored(array, affine, *one), stored(array, affine, *other)
    way = reordering(first.grid, second.grid)
    assert way is not None
    np.testing.assert_array_equal(way.applied(second.array[0]), first.array[0])
    moved = second.affine.copy()
    moved[:3, 3] += 0.2 * min(first.spacing_mm)
    assert reordering(first.grid, Grid(second.grid.shape, moved)) is None


@pytest.mark.parametrize("signs", [(-1, 1, 1), (-1, -1, 1), (1, 1, -1)])
def test_a_flipped_label_is_an_error_that_names_both_orientations(root: Path, signs: tuple[int, ...]) -> None:
    volume = nifti.read(label(root))
    nifti.write(label(root), stored(volume.array[0], volume.affine, (0, 1, 2), signs))
    (problem,) = found_in(root)
    assert (problem.file, problem.severity, problem.rule) == (label(root), "error", "grids")
    assert f"is stored as {nifti.read(label(root)).orientation}, but its image case_001.nii.gz as RAS" in problem.fault


def test_another_place_states_the_tolerance(root: Path) -> None:
    affine = np.eye(4)
    affine[2, 3] = 0.25
    changed(label(root), lambda array: array, affine)
    (problem,) = found_in(root)
    assert "lies up to 0.25 mm away" in problem.fault
    assert "0.1 mm, a tenth of a voxel, are borne" in problem.fault


def test_a_mirrored_affine_names_the_orientations(root: Path) -> None:
    changed(label(root), lambda array: array, np.diag([-1.0, 1, 1, 1]))
    (problem,) = by_rule(root, "grids")
    assert "orientation LAS and RAS" in problem.fault


@pytest.mark.parametrize(("shear", "severity"), [(0.0005, None), (0.005, "warning"), (0.05, "error")])
def test_sheared_axes(root: Path, shear: float, severity: str | None) -> None:
    affine = np.eye(4)
    affine[0, 2] = shear
    for path in (image(root), label(root)):
        changed(path, lambda array: array, affine)
    found = by_rule(root, "affines")
    assert [problem.severity for problem in found] == ([severity] if severity else [])
    assert all("degrees from square" in problem.fault for problem in found)


def test_shear_is_an_error_exactly_where_prediction_refuses() -> None:
    assert MAX_SHEAR == REFUSED_BY_PREDICTION


@pytest.mark.parametrize(("code", "name"), [(1, "metres"), (3, "microns")])
def test_units_other_than_millimetres(root: Path, code: int, name: str) -> None:
    scale = {1: 0.001, 3: 1000.0}[code]

    def edit(header) -> None:  # type: ignore[no-untyped-def]
        header.set_sform(np.diag([scale, scale, scale, 1]), 2)
        header.set_qform(np.diag([scale, scale, scale, 1]), 1)
        header["xyzt_units"] = code

    headed(image(root), edit)
    (problem,) = found_in(root)
    assert problem.severity == "warning" and f"stores its lengths in {name}" in problem.fault


@pytest.mark.parametrize("scale", [0.001, 1000.0])
def test_voxel_sizes_that_no_scanner_makes(root: Path, scale: float) -> None:
    for path in (image(root), label(root)):
        changed(path, lambda array: array, np.diag([scale, scale, scale, 1]))
    (problem,) = by_rule(root, "units")
    assert problem.severity == "warning" and "which no scanner makes" in problem.fault


def test_one_case_with_other_voxels_than_the_rest(root: Path) -> None:
    for path in (image(root), label(root)):
        changed(path, lambda array: array, np.diag([10.0, 10, 10, 1]))
    (problem,) = by_rule(root, "units")
    assert "10 times off the usual 1 mm" in problem.fault and problem.file == image(root)


def test_forms_that_disagree(root: Path) -> None:
    headed(image(root), lambda header: header.set_qform(np.diag([1.0, 1, 2, 1]), 1))
    (problem,) = by_rule(root, "forms")
    assert problem.severity == "warning" and "sform says one place" in problem.fault


def test_two_sizes_of_voxels(root: Path) -> None:
    def edit(header) -> None:  # type: ignore[no-untyped-def]
        header.set_sform(np.eye(4), 2)
        header["qform_code"], header["pixdim"][1:4] = 0, (1, 1, 3)

    headed(image(root), edit)
    (problem,) = by_rule(root, "forms")
    assert problem.severity == "warning" and "voxels of 1 x 1 x 3, its sform of 1 x 1 x 1" in problem.fault
    headed(image(root), lambda header: header["pixdim"].__setitem__(3, 1.001))
    assert by_rule(root, "forms") == [], "within a tenth of a voxel from end to end"


@pytest.mark.parametrize("size", [-1.0, 1.05, np.nan, 0.0])
def test_a_size_of_voxels_by_which_others_show_an_image_elsewhere(root: Path, size: float) -> None:
    """What the campaign found: SimpleITK mirrors negative sizes, and takes 0 and what is no number for 1."""
    sheet = np.diag([2.0, 2, 2, 1]) if size == 0 or np.isnan(size) else np.eye(4)

    def edit(header) -> None:  # type: ignore[no-untyped-def]
        header.set_sform(sheet, 2)
        header["qform_code"], header["pixdim"][1:4] = 0, np.diag(sheet)[:3]
        header["pixdim"][2] = size

    headed(image(root), edit)
    grid = nifti.read_grid(image(root))[0]
    itk = sitk.ReadImage(str(image(root)))
    point = itk.TransformIndexToPhysicalPoint([n - 1 for n in grid.shape])
    there = np.diag([-1.0, -1, 1, 1]) @ grid.affine @ [*(n - 1 for n in grid.shape), 1]
    assert np.abs(there[:3] - point).max() > 0.1, "the reason to speak"
    (problem,) = by_rule(root, "forms")
    assert problem.severity == "warning" and f"{size:.6g}" in problem.fault


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(numbers=st.lists(st.floats(width=32, allow_nan=False), min_size=12, max_size=12), code=st.integers(0, 3))
def test_whatever_a_header_says_is_judged(root: Path, numbers: list[float], code: int) -> None:
    def edit(header) -> None:  # type: ignore[no-untyped-def]
        header["srow_x"], header["srow_y"], header["srow_z"] = numbers[:4], numbers[4:8], numbers[8:]
        header["sform_code"], header["xyzt_units"] = 1, code

    good = image(root).read_bytes()
    try:
        headed(image(root), edit)
        assert all(problem.fault and problem.fix for problem in found_in(root))
    finally:
        image(root).write_bytes(good)
