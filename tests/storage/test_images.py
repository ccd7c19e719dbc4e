"""Channels in files of their own become one image, or both files are named."""

from pathlib import Path

import numpy as np
import pytest

from decaseg.storage import nifti
from decaseg.storage.dataset import CaseFiles
from decaseg.storage.images import read_image, read_image_facts, read_image_grid, read_label
from decaseg.volume import Volume


def case(root: Path, *volumes: Volume) -> CaseFiles:
    paths = [root / f"{place}.nii.gz" for place in range(len(volumes))]
    for path, volume in zip(paths, volumes, strict=True):
        nifti.write(path, volume)
    return CaseFiles("a", paths[0], None, tuple(paths[1:]))


def test_channels_come_in_order_in_a_type_that_holds_them_all(tmp_path):
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 200, (4, 5, 6)).astype(np.uint8), rng.normal(size=(4, 5, 6)).astype(np.float32)
    files = case(tmp_path, Volume.of(first), Volume.of(second), Volume.of(first))
    found = read_image(files)
    assert found.array.dtype == np.float32 and read_image_grid(files)[1] == 3
    np.testing.assert_array_equal(found.array, np.stack([first, second, first]))
    assert read_image_facts(files)[1:] == (3, 4)
    assert read_image(case(tmp_path / "same", Volume.of(first), Volume.of(first))).array.dtype == np.uint8


def test_places_choose_channels_of_one_file(tmp_path):
    array = np.arange(3 * 8).reshape(3, 2, 2, 2).astype(np.int16)
    nifti.write(tmp_path / "a.nii.gz", Volume.of(array))
    files = CaseFiles("a", tmp_path / "a.nii.gz", None, take=(2, 0))
    np.testing.assert_array_equal(read_image(files).array, array[[2, 0]])
    assert read_image_grid(files)[1] == 2 and read_image_facts(files)[1] == 2


@pytest.mark.parametrize(
    ("other", "fault"),
    [
        (Volume.of(np.ones((4, 5, 7), np.uint8)), "is 4 x 5 x 7 voxels"),
        (Volume.of(np.ones((4, 5, 6), np.uint8), np.diag([1, 1, 1.1, 1])), "lies up to 0.5 mm away"),
        (Volume.of(np.ones((2, 4, 5, 6), np.uint8)), "holds 2 channels"),
    ],
)
def test_what_is_not_on_one_grid_is_refused_with_both_names(tmp_path, other, fault):
    files = case(tmp_path, Volume.of(np.ones((4, 5, 6), np.uint8)), other)
    with pytest.raises(ValueError, match=fault) as caught:
        read_image(files)
    assert str(tmp_path / "1.nii.gz") in str(caught.value)
    assert "holds" in fault or str(tmp_path / "0.nii.gz") in str(caught.value)


def test_a_tenth_of_a_voxel_is_forgiven(tmp_path):
    shifted = np.eye(4)
    shifted[:3, 3] = 0.05
    ones = np.ones((4, 5, 6), np.uint8)
    assert read_image(case(tmp_path, Volume.of(ones), Volume.of(ones, shifted))).array.shape[0] == 2


def test_label_values_are_exchanged_all_at_once(tmp_path):
    label = np.array([0, 1, 2, 4], np.uint8).reshape(1, 2, 2)
    nifti.write(tmp_path / "l.nii.gz", Volume.of(label))
    files = CaseFiles("a", tmp_path / "l.nii.gz", tmp_path / "l.nii.gz", values={1: 2, 2: 1, 4: 3})
    assert read_label(files).array.ravel().tolist() == [0, 2, 1, 3]
