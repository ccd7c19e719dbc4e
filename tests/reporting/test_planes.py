"""Where right is: pictures of one patient are the same however the file lays its axes."""

from __future__ import annotations

import numpy as np
import pytest

from decaseg.reporting.planes import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    SOFT_TISSUE_HU,
    body_box,
    cut,
    make_scene,
    robust_window,
    spread_indices,
    telling_index,
)
from decaseg.volume import Volume
from tests.reporting.phantoms import ORIENTATIONS, patient, turned


def scene_of(volume: Volume, label: Volume):
    return make_scene(volume, label, label, (1,))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_orientation_gives_the_same_upright_patient(orientation):
    image, label = patient()
    turned_image, turned_label = turned(image, orientation), turned(label, orientation)
    assert turned_image.orientation == orientation
    straight, scene = scene_of(image, label), scene_of(turned_image, turned_label)
    np.testing.assert_array_equal(scene.image, straight.image)
    np.testing.assert_array_equal(scene.truth, straight.truth)
    assert scene.spacing_mm == straight.spacing_mm
    np.testing.assert_allclose(scene.origin_mm, straight.origin_mm)


def test_a_voxel_on_the_patients_right_is_on_the_left_of_axial_and_coronal_pictures():
    # LPS as DICOM has it: index 0 along x is the patient's right, index 0 along y the front.
    label = np.zeros((10, 12, 8), np.uint8)
    label[0, 0, 7] = 1  # right, front, top
    volume = Volume.of(label, np.diag([-1.0, -1.0, 1.0, 1.0]))
    scene = scene_of(volume, volume)
    for plane in (AXIAL, CORONAL, SAGITTAL):
        picture = cut(scene.truth, plane, telling_index(scene, plane))
        # Its corner is right and front in the axial plane, right and top in the coronal, front and top in the sagittal.
        assert picture[0, 0] == 1 and picture.sum() == 1
        assert picture.shape == (scene.shape[plane.down], scene.shape[plane.across])
    assert (AXIAL.left, AXIAL.right, AXIAL.top, AXIAL.bottom) == tuple("RLAP")
    assert (CORONAL.left, CORONAL.right, CORONAL.top, CORONAL.bottom) == tuple("RLSI")
    assert (SAGITTAL.left, SAGITTAL.right, SAGITTAL.top, SAGITTAL.bottom) == tuple("APSI")


def test_positions_are_the_files_own_millimetres():
    affine = np.array([[-2.0, 0, 0, 30], [0, 3, 0, -7], [0, 0, 4, 5], [0, 0, 0, 1]])
    volume = Volume.of(np.zeros((4, 5, 6), np.uint8), affine)
    scene = scene_of(volume, volume)
    assert scene.position_mm(0, 0) == pytest.approx(24)  # the leftmost voxel is the last one in the file
    assert scene.position_mm(1, 2) == pytest.approx(-1)
    assert scene.position_mm(2, 5) == pytest.approx(25)


def test_other_grids_and_channels_are_refused():
    image, label = patient()
    with pytest.raises(ValueError, match="shape"):
        make_scene(image, Volume.of(np.zeros((3, 3, 3), np.uint8)), None, (1,))
    moved = label.affine.copy()
    moved[0, 3] += 5
    with pytest.raises(ValueError, match="affine"):
        make_scene(image, Volume.of(label.array[0], moved), None, (1,))
    with pytest.raises(ValueError, match="channels 0 to 0"):
        make_scene(image, label, None, (1,), channel=1)


def test_values_without_a_name_are_background():
    image, label = patient()
    odd = label.with_array(np.where(label.array > 0, 1.0, np.nan).astype(np.float32))
    assert make_scene(image, odd, None, (1,)).prediction.sum() == label.array.sum()
    assert make_scene(image, label.with_array(label.array.astype(np.int16) * 300), None, (1, 44)).prediction.sum() == 0


def test_the_window_ignores_zeros_and_outliers_and_knows_ct():
    rng = np.random.default_rng(0)
    values = np.zeros((40, 40, 40))
    values[10:30] = rng.uniform(100, 200, (20, 40, 40))
    values[15, 0, 0] = 1e6
    window = robust_window(values)
    assert 99 < window.low < 102 and 198 < window.high < 201
    values[0] = -1000
    assert (robust_window(values).low, robust_window(values).high) == SOFT_TISSUE_HU
    assert robust_window(np.zeros((3, 3, 3))).grey(np.zeros((2, 2))).max() == 0


def test_empty_label_maps_show_the_middle_and_the_whole():
    image, label = patient()
    nothing = label.with_array(np.zeros_like(label.array))
    scene = make_scene(image, nothing, nothing, (1,))
    assert telling_index(scene, AXIAL) == scene.shape[2] // 2
    assert spread_indices(scene, AXIAL, 4)[0] == 0
    assert body_box(scene).shape <= scene.shape


def test_the_body_is_cropped_to_what_is_lit_and_to_every_structure():
    image = np.zeros((50, 50, 50), np.float32)
    image[20:30, 20:30, 20:30] = np.random.default_rng(0).uniform(50, 100, (10, 10, 10))
    label = np.zeros(image.shape, np.uint8)
    label[5, 25, 25] = 1
    box = body_box(make_scene(Volume.of(image), Volume.of(label), None, (1,)), margin_mm=2)
    assert box.start == (3, 18, 18) and box.stop == (32, 32, 32)
