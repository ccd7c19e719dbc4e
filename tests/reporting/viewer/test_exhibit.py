from __future__ import annotations

import numpy as np
import pytest

from decaseg.reporting.viewer import exhibit
from decaseg.reporting.viewer.exhibit import Cabinet, Case, Exhibition, encoded, show
from decaseg.storage import nifti
from decaseg.volume import Volume
from tests.reporting.phantoms import ORIENTATIONS, patient, turned

NAMES = {1: "edema", 4: "core"}


def files(folder, image, prediction=None, truth=None):
    paths = {}
    for name, volume in (("image", image), ("prediction", prediction), ("truth", truth)):
        if volume is not None:
            paths[name] = folder / f"{name}.nii.gz"
            nifti.write(paths[name], volume)
    return Case("a", **paths)


def shown(case, names=NAMES, **more):
    return show(case, Exhibition("t", (case,), names, **more))


@pytest.fixture
def case(tmp_path):
    image, truth = patient()
    predicted = np.roll(truth.array[0], 2, 0) * 4
    return files(tmp_path, image, truth.with_array(predicted), truth)


def test_layers_hold_places_of_values_among_the_names(case):
    prediction, truth, verdict = shown(case).layers
    assert [layer.key for layer in (prediction, truth, verdict)] == ["prediction", "truth", "verdict"]
    assert [(p.value, p.name) for p in truth.parts] == [(1, "edema"), (2, "core")]
    assert set(np.unique(prediction.array)) == {0, 2} and set(np.unique(truth.array)) == {0, 1}
    ml = 1.5 * 1.0 * 2.5 / 1000
    assert truth.parts[0].volume_ml == pytest.approx((truth.array == 1).sum() * ml, abs=1e-3)
    assert {p.name: p.volume_ml for p in verdict.parts}["wrong structure"] > 0


def test_one_structure_cannot_be_mistaken_for_another(tmp_path):
    image, truth = patient()
    verdict = shown(files(tmp_path, image, truth, truth), {1: "edema"}).layers[2]
    assert [p.name for p in verdict.parts] == ["right", "false positive", "missed"]
    assert (verdict.array == truth.array[0]).all()


def test_values_without_a_name_are_shown_all_the_same(case):
    assert [p.name for p in shown(case, {1: "edema"}).layers[0].parts] == ["edema", "label 4"]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_crosshair_begins_inside_the_structure_wherever_the_axes_point(tmp_path, orientation):
    image, truth = (turned(v, orientation) for v in patient())
    facts = shown(files(tmp_path, image, None, truth)).to_json()
    voxel = np.rint(np.linalg.inv(truth.affine) @ [*facts["centre_mm"], 1.0])[:3].astype(int)
    assert truth.array[0][tuple(voxel)] == 1
    low, high = facts["found_z_mm"]
    assert 12 <= low < 12 + 8 * 2.5 and 12 + 10 * 2.5 < high <= 12 + 13 * 2.5
    assert facts["body_mm"]["centre"] == pytest.approx([-20 + 11.5 * 1.5, -30 + 14.5, 12 + 6.5 * 2.5], abs=2.6)


def test_what_is_sent_lies_where_the_file_lies_even_if_its_forms_disagree(tmp_path):
    """NiiVue takes the form with the larger code, we the sform: what is sent has only one answer."""
    image, _ = patient()
    tilted = np.array([[1.4, 0.3, 0, -9], [-0.3, 0.9, 0.2, 4], [0, 0.1, 2.4, 7], [0, 0, 0, 1.0]])
    (tmp_path / "x.nii").write_bytes(encoded(image.array[0], tilted))
    back = nifti.read(tmp_path / "x.nii")
    assert np.allclose(back.affine, tilted, atol=1e-5) and (back.array == image.array).all()
    assert back.grid.xyzt_units & 7 == 2


@pytest.mark.parametrize("kind", ["int8", "uint32", "int32", "float64", "uint8", "int16"])
def test_every_type_of_voxel_becomes_one_that_niivue_reads(tmp_path, kind):
    array = np.arange(24).reshape(2, 3, 4).astype(kind)
    (tmp_path / "x.nii").write_bytes(encoded(array, np.eye(4)))
    back = nifti.read(tmp_path / "x.nii").array
    assert (back[0] == array).all() and back.dtype.name in exhibit.READ_BY_NIIVUE


def test_values_that_are_no_numbers_are_sent_as_zeros(tmp_path):
    (tmp_path / "x.nii").write_bytes(encoded(np.array([[[np.nan, np.inf, 2.0]]], np.float32), np.eye(4)))
    assert nifti.read(tmp_path / "x.nii").array.ravel().tolist() == [0, 0, 2]


def test_large_images_are_thinned_where_they_stand(case, monkeypatch, tmp_path):
    monkeypatch.setattr(exhibit, "MOST_VOXELS", 3000)
    found = shown(case)
    assert found.step == (2, 2, 1)  # from 1.5 x 1 x 2.5 mm: the finest axes first
    (tmp_path / "x.nii").write_bytes(found.layer_file("truth"))
    back, whole = nifti.read(tmp_path / "x.nii"), nifti.read(case.truth)
    places = (np.argwhere(back.array[0] == 1) @ back.affine[:3, :3].T) + back.affine[:3, 3]
    voxels = np.rint((places - whole.affine[:3, 3]) @ np.linalg.inv(whole.affine[:3, :3]).T).astype(int)
    assert len(voxels) and (whole.array[0][tuple(voxels.T)] == 1).all()


def test_channels_have_their_names_and_their_own_window(tmp_path):
    image, _ = patient()
    two = Volume.of(np.stack([image.array[0], 10 * image.array[0]]), image.affine)
    facts = shown(files(tmp_path, two), channels=("FLAIR", "T2"), channel=1).to_json()
    assert [c["name"] for c in facts["channels"]] == ["FLAIR", "T2"] and facts["channel"] == 1
    assert facts["channels"][1]["high"] == pytest.approx(10 * facts["channels"][0]["high"], rel=1e-4)
    assert [c["name"] for c in shown(files(tmp_path, two)).to_json()["channels"]] == ["channel 1", "channel 2"]


def test_an_image_without_anything_to_see_is_still_shown(tmp_path):
    facts = shown(files(tmp_path, Volume.of(np.zeros((4, 5, 6), np.int16)))).to_json()
    assert facts["layers"] == [] and facts["centre_mm"] == [1.5, 2.0, 2.5]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: Volume.of(t.array[0][1:], t.affine), "has shape"),
        (lambda t: Volume.of(t.array[0], t.affine @ np.diag([-1, 1, 1, 1.0])), "mm from its image"),
        (lambda t: t.with_array(t.array[0].astype(np.int16) * 300), "from 0 to 255"),
        (lambda t: t.with_array(-t.array[0].astype(np.int16)), "from 0 to 255"),
        (lambda t: Volume.of(np.stack([t.array[0]] * 2), t.affine), "2 channels"),
        (lambda t: t.with_array(np.arange(t.array.size).reshape(t.shape) % 200), "different values"),
    ],
    ids=["shape", "affine", "large", "negative", "channels", "image"],
)
def test_what_is_no_label_map_of_the_image_is_refused_by_name(tmp_path, change, says):
    image, truth = patient()
    with pytest.raises(ValueError, match=says) as refused:
        shown(files(tmp_path, image, None, change(truth)))
    assert "truth.nii.gz" in str(refused.value)


def test_the_cabinet_keeps_few_cases_and_the_same_ones(tmp_path):
    cases = []
    for i in range(4):
        (tmp_path / str(i)).mkdir()
        cases.append(files(tmp_path / str(i), *patient()))
    cabinet = Cabinet(Exhibition("t", tuple(cases)))
    first = cabinet.shown(0)
    assert cabinet.shown(0) is first
    for i in range(4):
        cabinet.shown(i)
    assert cabinet.shown(0) is not first
