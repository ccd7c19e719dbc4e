"""A volume knows where its voxels lie; nibabel is the oracle."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from decaseg.volume import Grid, Volume


def affine_of(seed: int, tilt: float = 1.0) -> np.ndarray:
    """A random axis permutation, flip, voxel size and offset, turned by up to `tilt` radians."""
    rng = np.random.default_rng(seed)
    axes = np.eye(3)[rng.permutation(3)] * rng.choice([-1, 1], 3)
    turn = Rotation.from_rotvec(rng.uniform(-1, 1, 3) * tilt / np.sqrt(3)).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn @ axes @ np.diag(rng.uniform(0.3, 6, 3))
    affine[:3, 3] = rng.uniform(-300, 300, 3)
    return affine


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_orientation_and_spacing_agree_with_nibabel(seed: int) -> None:
    affine = affine_of(seed, tilt=0.7)  # beyond 45 degrees the nearest axis is a matter of taste
    volume = Volume.of(np.zeros((2, 3, 4)), affine)
    assert volume.orientation == "".join(nib.aff2axcodes(affine))
    assert np.allclose(volume.spacing_mm, nib.affines.voxel_sizes(affine))
    assert np.isclose(volume.grid.voxel_ml, np.prod(volume.spacing_mm) / 1000)


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_axes_are_a_permutation_however_oblique(seed: int) -> None:
    axes = Volume.of(np.zeros((2, 3, 4)), affine_of(seed, tilt=3.0)).grid.axes
    assert sorted(world for world, _ in axes) == [0, 1, 2]


def test_distance_is_that_of_the_farthest_voxel() -> None:
    grid = Volume.of(np.zeros((11, 3, 4))).grid
    other = np.diag([1.1, 1, 1, 1.0])
    assert grid.distance_mm(grid.affine) == 0
    assert np.isclose(grid.distance_mm(other), 1.0)  # 10 steps of 0.1 mm


def test_shapes_and_affines_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(X, Y, Z\)"):
        Volume.of(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="on its grid"):
        Volume.of(np.zeros((2, 3, 4))).with_array(np.zeros((2, 3, 5)))
    for affine in (np.eye(3), np.zeros((4, 4)), np.diag([1, np.nan, 1, 1])):
        with pytest.raises(ValueError, match="must be 4x4"):
            Volume.of(np.zeros((2, 3, 4)), affine)


def test_a_volume_does_not_share_its_affine_with_the_caller() -> None:
    affine = np.eye(4)
    volume = Volume.of(np.zeros((2, 3, 4)), affine)
    affine[0, 0] = 9
    assert volume.spacing_mm == (1, 1, 1)
    assert isinstance(volume.grid, Grid) and volume.shape == (2, 3, 4)
    assert volume.with_array(np.ones((3, 2, 3, 4))).array.shape == (3, 2, 3, 4)
