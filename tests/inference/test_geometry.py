"""Whatever a file's geometry, the prediction lies on it; how the axes are stored does not change the anatomy."""

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from decaseg.data.normalise import Normalisation
from decaseg.data.preprocess import Preprocessing
from decaseg.data.targets import make_target
from decaseg.inference.predictor import Predictor
from decaseg.storage import nifti
from decaseg.volume import Volume
from tests.data.oriented import ORIENTATIONS
from tests.inference.test_predictor import Toy

KEPT = ("qform_code", "sform_code", "xyzt_units", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y",
        "qoffset_z", "srow_x", "srow_y", "srow_z")  # fmt: skip
slowly = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
shapes = st.tuples(*[st.integers(1, 14)] * 3)
spacings = st.tuples(*[st.sampled_from([0.3, 0.5, 0.9, 1.0, 1.003, 2.5, 7.0])] * 3)
angles = st.tuples(*[st.integers(-180, 180)] * 3)


def predictor(kind="zscore"):
    how = Preprocessing(("MRI",), (0,), 1, (1.0, 1.0, 1.5), (Normalisation(kind),))
    return Predictor(Toy(), how, make_target("all", {1: "a", 2: "b"}), (6, 8, 6))


def affine_of(spacing_mm, degrees=(0, 0, 0)):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() * spacing_mm
    affine[:3, 3] = 11, -22, 33
    return affine


def predicted(path, out):
    labels = predictor()(nifti.read(path)).labels
    nifti.write(out, labels)
    return labels


@slowly
@given(
    shape=shapes,
    spacing_mm=spacings,
    degrees=angles,
    orientation=st.sampled_from(ORIENTATIONS),
    dtype=st.sampled_from(["i2", "u1", "f4", "f8", ">i2", "i4"]),
    scale=st.sampled_from([None, (2.0, -1000.0), (0.01, 3.0)]),
    codes=st.sampled_from([(1, 1), (1, 0), (0, 1), (0, 0), (4, 2), (3, 4)]),
    units=st.sampled_from(["mm", "unknown", "micron", "meter"]),
    seed=st.integers(0, 99),
)
def test_a_prediction_has_its_images_shape_forms_codes_and_units(
    tmp_path_factory, shape, spacing_mm, degrees, orientation, dtype, scale, codes, units, seed
):
    folder = tmp_path_factory.mktemp("geometry")
    order, signs = orientation
    turn = np.eye(4)
    turn[:3, :3] = np.diag(signs).astype(float)[list(order)]
    length = {"micron": 1000.0, "meter": 0.001}.get(units, 1.0)
    affine = np.diag([length, length, length, 1]) @ affine_of(spacing_mm, degrees) @ turn
    array = np.random.default_rng(seed).integers(0, 100, shape).astype(dtype)
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units(units)
    image.set_qform(affine, codes[0])
    image.set_sform(affine, codes[1])
    if scale:
        image.header.set_slope_inter(*scale)
    nib.save(image, folder / "image.nii.gz")
    predicted(folder / "image.nii.gz", folder / "out.nii.gz")
    before, after = nib.load(folder / "image.nii.gz"), nib.load(folder / "out.nii.gz")
    assert after.shape == before.shape and after.get_data_dtype() == np.uint8
    for name in KEPT:
        np.testing.assert_array_equal(after.header[name], before.header[name], err_msg=name)
    np.testing.assert_array_equal(after.header["pixdim"][:4], before.header["pixdim"][:4])
    np.testing.assert_array_equal(after.affine, before.affine)


@slowly
@given(
    shape=shapes,
    spacing_mm=spacings,
    degrees=st.one_of(st.just((0, 0, 0)), angles, st.tuples(*[st.sampled_from([0, 45, 90, 135])] * 3)),
    orientation=st.sampled_from(ORIENTATIONS),
    kind=st.sampled_from(["zscore", "zscore_nonzero"]),
    seed=st.integers(0, 99),
)
def test_how_the_axes_are_stored_does_not_change_the_anatomy(
    tmp_path_factory, shape, spacing_mm, degrees, orientation, kind, seed
):
    folder = tmp_path_factory.mktemp("turned")
    rng = np.random.default_rng(seed)
    array = rng.integers(1, 100, shape).astype(np.int16)
    array[rng.random(shape) < 0.3] = 0
    affine = affine_of(spacing_mm, degrees)
    order, signs = orientation
    # turned[i] = straight[turn @ i]: array axis k of the turned file runs along axis order[k] with signs[k].
    turned = array.transpose(order)[tuple(slice(None, None, sign) for sign in signs)]
    turn = np.zeros((4, 4))
    turn[3, 3] = 1
    for axis, (source, sign) in enumerate(zip(order, signs, strict=True)):
        turn[source, axis] = sign
        turn[source, 3] = 0 if sign > 0 else shape[source] - 1
    found = []
    for name, one, where in (("straight", array, affine), ("turned", turned, affine @ turn)):
        nib.save(nib.Nifti1Image(np.ascontiguousarray(one), where), folder / f"{name}.nii.gz")
        found.append(predictor(kind)(nifti.read(folder / f"{name}.nii.gz")).labels.array[0])
    straight, other = found
    np.testing.assert_array_equal(other, straight.transpose(order)[tuple(slice(None, None, s) for s in signs)])


@pytest.mark.parametrize("degrees", [3, 5, 30])
def test_sheared_grids_are_refused_with_a_reason(degrees):
    affine = affine_of((1, 2, 3), (10, 20, 30)) @ np.array(
        [[1, np.tan(np.radians(degrees)), 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    )
    with pytest.raises(ValueError, match=r"sheared affine .* degrees from square.*resample it"):
        predictor()(Volume.of(np.ones((4, 5, 6), np.int16), affine))


def test_a_headers_rounding_is_no_shear():
    rounded = affine_of((0.977, 0.977, 3.3), (11, 22, 33)).astype(np.float32).round(4)
    predictor()(Volume.of(np.arange(120, dtype=np.int16).reshape(4, 5, 6), rounded))


def test_a_spacing_that_cannot_be_meant_is_refused():
    with pytest.raises(ValueError, match=r"voxels of 900 x 900 x 900 mm, the model works at 1 x 1 x 1\.5.*header"):
        predictor()(Volume.of(np.ones((20, 20, 20), np.int16), np.diag([900.0, 900, 900, 1])))


def test_values_beyond_float32_are_refused():
    with pytest.raises(ValueError, match="above 1e\\+30; scale"):
        predictor()(Volume.of(np.full((4, 4, 4), 1e300)))


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.zeros((5, 5), np.int16), "has 2 dimensions"),
        (np.zeros((5, 5, 5, 2, 3), np.int16), "has 5 dimensions"),
        (np.zeros((5, 5, 5), np.complex64), "complex"),
        (np.zeros((5, 5, 5), [("R", "u1"), ("G", "u1"), ("B", "u1")]), "colour"),
    ],
)
def test_what_is_no_scan_is_refused_in_one_line_that_names_the_file(tmp_path, image, says):
    nib.save(nib.Nifti1Image(image, np.eye(4)), tmp_path / "odd.nii.gz")
    with pytest.raises(ValueError, match=rf"odd\.nii\.gz: .*{says}.*;"):
        predicted(tmp_path / "odd.nii.gz", tmp_path / "out.nii.gz")
