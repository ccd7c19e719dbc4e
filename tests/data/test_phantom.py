"""The phantom's promises: the same bytes from the same numbers, anatomy and tumours as the field's words mean them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from decaseg.data.phantom import CHANNELS, LABELS, generate_case, write_dataset
from decaseg.storage import nifti
from decaseg.storage.layouts import read_dataset

pytest.importorskip("nilearn")
SPACING_MM = 3.0  # coarse, so that the tests are quick; 2 mm is the demo's
EDEMA, NON_ENHANCING, ENHANCING = 1, 2, 3
FLAIR, T1W, T1GD, T2W = range(4)


@pytest.fixture(scope="module")
def cases():
    return [generate_case(0, number, SPACING_MM) for number in range(1, 7)]


@pytest.fixture(scope="module")
def anatomy():
    """The healthy tissues, the deformed tissues and the labels of one case with a large tumour."""
    from decaseg.data.phantom import anatomy, frame, template, tumour

    grid = frame.Frame(SPACING_MM)
    rng = np.random.default_rng(5)
    head = anatomy.draw_head(template.load(), grid, rng)
    character = tumour.Character(
        core_ml=40, edema_ml=50, lobes=2, roughness=1.0, rim_mm=3, enhances=True, gap=-1, mass_effect=0.5,
        satellite=False,
    )  # fmt: skip
    core = tumour.draw_core(template.load(), head, character, rng)
    shift_mm = tumour.mass_effect(head, core, character, rng)
    before = anatomy.draw_tissues(template.load(), head)
    after = anatomy.draw_tissues(template.load(), head, shift_mm)
    return head, core, shift_mm, before, after


def digests(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_bytes_do_not_depend_on_the_workers(tmp_path):
    seen = []
    one = write_dataset(tmp_path / "one", 3, 7, 4.0, workers=1, on_case=lambda *count: seen.append(count))
    two = write_dataset(tmp_path / "two", 3, 7, 4.0, workers=2)
    assert digests(one) == digests(two)
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_case_depends_on_its_own_numbers_only(cases):
    image, label = generate_case(0, 3, SPACING_MM)
    assert np.array_equal(image.array, cases[2][0].array) and np.array_equal(label.array, cases[2][1].array)
    assert not np.array_equal(image.array, generate_case(1, 3, SPACING_MM)[0].array)
    assert not np.array_equal(cases[0][1].array, cases[1][1].array)


def test_the_data_set_is_a_decathlon(tmp_path):
    root = write_dataset(tmp_path, 2, 0, SPACING_MM)
    dataset = read_dataset(root)
    assert dataset.channels == CHANNELS == ("FLAIR", "T1w", "t1gd", "T2w")
    assert dict(dataset.labels) == LABELS
    assert [files.case for files in dataset.training] == ["DEMO_001", "DEMO_002"]
    document = json.loads((root / "dataset.json").read_text())
    assert document["numTraining"] == 2 and document["numTest"] == 0 and document["test"] == []
    assert document["tensorImageSize"] == "4D"
    assert "enerated" in document["description"]
    for files in dataset.training:
        image, label = nifti.read(files.image), nifti.read(files.label)
        assert image.array.shape == (4, *label.shape) and image.array.dtype == np.int16
        assert label.array.dtype == np.uint8 and np.array_equal(image.affine, label.affine)
        assert image.orientation == "RAS" and np.allclose(image.spacing_mm, SPACING_MM)


def test_the_field_of_view_stays_when_the_spacing_changes():
    corners, extents = [], []
    for spacing_mm in (3.0, 4.0):
        image, _ = generate_case(0, 1, spacing_mm)
        corners.append(image.affine[:3, 3] - spacing_mm / 2)
        extents.append(np.array(image.shape) * spacing_mm)
    assert np.allclose(corners[0], corners[1])
    assert np.allclose(extents[0], extents[1])


def test_one_seed_is_one_tumour_at_every_spacing():
    fine, coarse = (generate_case(0, 2, spacing_mm)[1] for spacing_mm in (2.0, 3.0))
    volumes = [np.bincount(v.array.ravel(), minlength=4)[1:] * v.grid.voxel_ml for v in (fine, coarse)]
    assert volumes[0].sum() == pytest.approx(volumes[1].sum(), rel=0.1)
    centres = [v.affine[:3, :3] @ np.argwhere(v.array[0] > 0).mean(axis=0) + v.affine[:3, 3] for v in (fine, coarse)]
    assert np.linalg.norm(centres[0] - centres[1]) < 4


def test_volumes_can_be_learnt(cases):
    enhancing = []
    for image, label in cases:
        assert set(np.unique(label.array)) <= {0, 1, 2, 3}
        ml = np.bincount(label.array.ravel(), minlength=4) * label.grid.voxel_ml
        assert ml[EDEMA] >= 8 and ml[NON_ENHANCING] + ml[ENHANCING] >= 2 and ml[1:].sum() < 250
        assert (label.array[0][image.array[0] == 0] == 0).all(), "a tumour outside the brain"
        enhancing.append(ml[ENHANCING])
    assert np.mean(np.array(enhancing) > 0.5) >= 0.9


def test_nine_in_ten_cases_enhance():
    from decaseg.data.phantom.case import ENHANCING_OF

    for seed in range(4):
        assert np.mean([(number + seed) % ENHANCING_OF != 0 for number in range(1, 25)]) >= 0.9


def test_the_background_is_zero_and_the_brain_is_not(cases):
    for image, _ in cases:
        brain = image.array[0] != 0
        assert ((image.array != 0) == brain).all(), "the sequences must share one brain"
        assert (image.array >= 0).all()
        assert 1000 < brain.sum() * image.grid.voxel_ml < 2400
        _, pieces = ndimage.label(brain)
        assert pieces == 1


def test_rim_touches_core_and_edema_surrounds_it(cases):
    for _, label in cases:
        labels = label.array[0]
        core = labels >= NON_ENHANCING
        edema_or_core = ndimage.binary_dilation(core, iterations=2) & (labels > 0)
        pieces, count = ndimage.label(edema_or_core, np.ones((3, 3, 3)))
        assert count >= 1 and pieces[core].all()
        round_core = ndimage.binary_dilation(core) & ~core
        assert np.mean(labels[round_core] == EDEMA) > 0.35
        if (labels == ENHANCING).any():
            beside = ndimage.binary_dilation(labels == ENHANCING) & (labels == NON_ENHANCING)
            assert beside.any()


def contrasts(image, label):
    """Median signal of each part of one case by channel, relative to white matter (bright on T1)."""
    labels, t1 = label.array[0], image.array[T1W]
    healthy = (labels == 0) & (t1 > 0)
    white = healthy & (t1 > np.percentile(t1[healthy], 60))
    return [
        {value: np.median(channel[labels == value]) / np.median(channel[white]) for value in np.unique(labels)}
        for channel in image.array
    ]


def test_tumours_look_as_each_sequence_shows_them(cases):
    for image, label in cases:
        seen = contrasts(image, label)
        assert seen[FLAIR][EDEMA] > 1.15, "oedema is bright on FLAIR"
        assert seen[T2W][EDEMA] > 1.2, "oedema is bright on T2"
        assert seen[T2W][NON_ENHANCING] > 1.4, "necrosis is bright on T2"
        assert seen[T1W][EDEMA] < 0.92 and seen[T1W][NON_ENHANCING] < 0.85, "the tumour is dark on T1"
        if ENHANCING in seen[T1GD]:
            assert seen[T1GD][ENHANCING] > 1.1, "the rim takes up gadolinium"
            assert seen[T1GD][ENHANCING] > 1.4 * seen[T1GD][NON_ENHANCING], "the centre does not"
            assert seen[T1W][ENHANCING] < 0.95, "without gadolinium the rim is not bright"


def test_healthy_tissues_look_as_each_sequence_shows_them(anatomy):
    from decaseg.data.phantom import contrast, frame, tumour

    head, core, _, tissues, _ = anatomy
    nothing = tumour.Tumour(np.zeros(core.shape, np.uint8), np.full(core.shape, np.inf, np.float32))
    rng = np.random.default_rng(0)
    scene = contrast.draw_scene(frame.Frame(SPACING_MM), head.brain, tissues, nothing, rng)
    gm, wm, csf = ((fraction > 0.8) & head.brain for fraction in (tissues.gm, tissues.wm, tissues.csf))
    mean = {}
    for name in CHANNELS:
        signal = contrast.draw_sequence(name, scene, rng)
        assert (signal[~head.brain] == 0).all()
        mean[name] = [np.median(signal[tissue]) for tissue in (gm, wm, csf)]
    assert mean["FLAIR"][0] > mean["FLAIR"][1] > 2 * mean["FLAIR"][2]
    assert mean["T1w"][1] > mean["T1w"][0] > mean["T1w"][2]
    assert mean["t1gd"][1] > mean["t1gd"][0] > mean["t1gd"][2]
    assert mean["T2w"][2] > 1.5 * mean["T2w"][0] > 1.5 * mean["T2w"][1]


def test_tissue_fractions_are_fractions(anatomy):
    head, _, _, before, after = anatomy
    for tissues in (before, after):
        total = tissues.gm + tissues.wm + tissues.csf
        assert np.allclose(total[head.brain], 1, atol=1e-4) and (total[~head.brain] == 0).all()


def test_the_tumour_pushes_the_brain_aside(anatomy):
    head, core, shift_mm, before, after = anatomy
    push = np.sqrt((shift_mm**2).sum(axis=0))
    inside = core > 0
    round_core = ndimage.binary_dilation(inside, iterations=3) & ~ndimage.binary_dilation(inside) & (head.depth_mm > 14)
    assert np.median(push[round_core]) > 3, "the neighbourhood moves by millimetres"
    assert push[head.brain & (head.depth_mm <= SPACING_MM)].max() < 4, "the skull does not"
    away = np.argwhere(round_core) - np.argwhere(inside).mean(axis=0)
    assert np.mean((away * shift_mm[:, round_core].T).sum(axis=1) > 0) > 0.95, "outwards"
    near = head.brain & (np.sqrt((shift_mm**2).sum(axis=0)) > 2)
    assert np.abs(after.midline_mm - before.midline_mm)[near].mean() > 1


def test_space_does_not_fold(anatomy):
    head, _, shift_mm, _, _ = anatomy
    for field, sign in ((head.template_mm, 0.0), (shift_mm, -1.0)):
        slopes = np.stack([np.stack(np.gradient(component, SPACING_MM)) for component in field])
        jacobian = np.moveaxis(slopes, (0, 1), (-2, -1))
        if sign:
            jacobian = np.eye(3) + sign * jacobian
        determinant = np.linalg.det(jacobian)[head.brain]
        assert np.mean(determinant > 0) > 0.999


def test_edema_follows_white_matter_and_spares_the_ventricles(anatomy):
    from decaseg.data.phantom import tumour

    head, core, _, _, tissues = anatomy
    character = tumour.Character(40, 50, 1, 1.0, 3, True, -1, 0.5, False)
    labels = tumour.draw_tumour(head, tissues, core, character, np.random.default_rng(1)).labels
    edema = labels == EDEMA
    shell = ndimage.binary_dilation(labels > 0, iterations=2) & head.brain & (labels == 0)
    assert tissues.wm[edema].mean() > 1.5 * tissues.wm[shell].mean()
    assert (tissues.csf[edema] < 0.5).all()


def test_the_front_keeps_its_time():
    """In an even medium the arrival time is the distance; a wall must be walked round."""
    from decaseg.data.phantom.front import arrival_time

    speed = np.full((25, 25, 25), 2.0, np.float32)
    source = np.zeros(speed.shape, bool)
    source[12, 12, 12] = True
    time = arrival_time(speed, source, 1.5, 40)
    distance = ndimage.distance_transform_edt(~source) * 1.5
    assert np.abs(time - distance / 2)[distance > 6].max() < 0.12 * distance.max() / 2
    speed[14, :, :] = 1e-3
    speed[14, 0, 0] = 2.0
    assert arrival_time(speed, source, 1.5, 60)[16, 12, 12] > 2 * time[16, 12, 12]


def test_noise_keeps_its_promises():
    from decaseg.data.phantom.frame import Frame, smooth_noise

    fine, coarse = (smooth_noise(np.random.default_rng(3), Frame(s), 8.0) for s in (2.0, 4.0))
    assert abs(fine.mean()) < 0.1 and fine.std() == pytest.approx(1, abs=0.08)
    block = fine.reshape(coarse.shape[0], 2, coarse.shape[1], 2, coarse.shape[2], 2).mean(axis=(1, 3, 5))
    assert np.corrcoef(block.ravel(), coarse.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("wrong", [{"cases": 0}, {"cases": -3}, {"spacing_mm": 0.0}, {"spacing_mm": float("nan")},
                                   {"spacing_mm": -2.0}, {"workers": 0}, {"seed": -1}])  # fmt: skip
def test_wrong_arguments_are_refused(tmp_path, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        write_dataset(tmp_path / "data", **wrong)
    assert not (tmp_path / "data").exists()


def test_a_wrong_case_is_refused():
    with pytest.raises(ValueError, match="number"):
        generate_case(0, -1)
    with pytest.raises(ValueError, match="spacing_mm"):
        generate_case(0, 1, 0)


def test_a_missing_template_names_the_extra(monkeypatch):
    from decaseg.data.phantom import template

    template.load.cache_clear()
    monkeypatch.setattr(template, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"install decaseg\[demo\]"):
        generate_case(0, 1, SPACING_MM)


def test_an_interruption_leaves_no_data_set(tmp_path):
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path, 6, 0, 4.0, workers=1, on_case=interrupt)
    assert not (tmp_path / "dataset.json").exists()
    assert len(list((tmp_path / "imagesTr").glob("*"))) <= 2


def test_another_data_set_is_left_alone(tmp_path):
    (tmp_path / "dataset.json").write_text('{"name": "BRATS"}')
    with pytest.raises(ValueError, match="another data set"):
        write_dataset(tmp_path, 1, 0, 4.0)
    assert json.loads((tmp_path / "dataset.json").read_text()) == {"name": "BRATS"}


def test_a_smaller_data_set_replaces_a_larger_one(tmp_path):
    write_dataset(tmp_path, 2, 0, 4.0)
    assert len(read_dataset(write_dataset(tmp_path, 1, 1, 4.0)).training) == 1


def test_the_import_is_cheap():
    code = "import sys, decaseg.data.phantom; print([m for m in ('scipy', 'nilearn', 'nibabel') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
