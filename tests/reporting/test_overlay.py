from __future__ import annotations

import importlib
import itertools

import numpy as np
import pytest
from PIL import Image, ImageSequence

from decaseg.reporting.animation import MAX_BYTES, _frames, draw_animation
from decaseg.reporting.look import PALETTES, Look
from decaseg.reporting.overlay import WIDTH, case_caption, draw_overlay, lay
from decaseg.reporting.paint import VERDICTS, structure_colour
from decaseg.reporting.planes import body_box, make_scene
from decaseg.volume import Volume
from tests.reporting.phantoms import marked, patient, turned

RED = VERDICTS[2][1]


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def heroes(picture):
    """The part of a poster with the three planes: below the legend, above the slices."""
    return picture[240:800]


def reddish(picture):
    return (picture[..., 0] > picture[..., 1] + 60) & (picture[..., 0] > picture[..., 2] + 60)


def test_the_patients_right_is_on_the_left_in_every_orientation(tmp_path):
    image, label = patient()
    nothing = label.with_array(np.zeros_like(label.array))
    pictures = []
    for orientation in ("RAS", "PIR", "SLA"):
        path = tmp_path / f"{orientation}.png"
        parts = [turned(volume, orientation) for volume in (image, label, nothing)]
        draw_overlay(path, *parts, {1: "lesion"}, "case\nDice 0.000")  # all of it a false positive, so red
        pictures.append(pixels(path))
    for other in pictures[1:]:
        np.testing.assert_array_equal(other, pictures[0])
    rows, columns = np.nonzero(reddish(heroes(pictures[0])))
    assert len(rows) > 500
    # Panels are as wide as the body: 36, 36 and 30 mm. The structure is right, in front and above: left and upper.
    axial_end = 48 + (WIDTH - 96) * 36 / 102
    axial = columns < axial_end
    assert columns[axial].mean() < (48 + axial_end) / 2 - 20
    coronal = (columns > axial_end) & (columns < axial_end + (axial_end - 48))
    assert columns[coronal].mean() < axial_end + (axial_end - 48) / 2 - 20
    sagittal = columns > axial_end + (axial_end - 48)
    assert columns[sagittal].mean() < (axial_end + (axial_end - 48) + WIDTH - 48) / 2


def test_voxel_spacing_is_respected(tmp_path):
    """A cube of 12 mm in voxels of 1 x 2 x 4 mm is as wide as it is high in every plane."""
    label = np.zeros((48, 24, 12), np.uint8)
    label[18:30, 9:15, 5:8] = 1
    image = Volume.of(np.ones(label.shape, np.float32), np.diag([1.0, 2, 4, 1]))
    draw_overlay(tmp_path / "a.png", image, image.with_array(label), image.with_array(label * 0), {1: "cube"}, "c")
    found = reddish(heroes(pixels(tmp_path / "a.png")))[:, :650]  # the axial panel
    rows, columns = np.nonzero(found)
    assert np.ptp(rows) == pytest.approx(np.ptp(columns), rel=0.03)


def test_all_kinds_of_cases_can_be_drawn(tmp_path):
    image, label = patient()
    several = label.with_array(label.array + (np.roll(label.array, 3, axis=1) > 0).astype(np.uint8))
    names = {0: "background", 1: "core", 2: "rim with a very long name indeed, to see it cut " * 5}
    draw_overlay(tmp_path / "several.png", image, several, label, names, "ünïcödé 病例\nDice 0.5")
    draw_overlay(tmp_path / "no_truth.png", image, several, None, names, "")
    empty = label.with_array(np.zeros_like(label.array))
    draw_overlay(tmp_path / "empty.png", image.with_array(image.array * 0), empty, empty, names, "empty")
    flat = Volume.of(np.ones((9, 7, 1), np.float32))
    one = flat.with_array((np.arange(63).reshape(9, 7, 1) % 2).astype(np.uint8))
    draw_overlay(tmp_path / "flat.png", flat, one, one, {1: "one"}, "one slice")
    draw_animation(tmp_path / "flat.gif", flat, one, one, {1: "one"}, "one slice")
    for path in tmp_path.glob("*.png"):
        assert pixels(path).shape[1] == WIDTH
    assert not list(tmp_path.glob(".*"))


def test_the_animation_moves_and_keeps_its_limit(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    image = Volume.of(rng.uniform(0, 100, (40, 40, 30)).astype(np.float32))
    label = np.zeros((40, 40, 30), np.uint8)
    label[10:20, 10:20, 5:25] = 1
    drawn = tmp_path / "a.gif"
    monkeypatch.setattr("decaseg.reporting.animation.SIDE", 200)
    draw_animation(drawn, image, image.with_array(label), image.with_array(label), {1: "x"}, "case\nDice 1")
    assert drawn.stat().st_size < MAX_BYTES
    with Image.open(drawn) as gif:
        frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(gif)]
    assert len(frames) == 24  # 20 slices and 2 more at both ends
    assert all((a != b).any() for a, b in itertools.pairwise(frames))
    monkeypatch.setattr("decaseg.reporting.animation.MAX_BYTES", drawn.stat().st_size // 2)
    draw_animation(tmp_path / "b.gif", image, image.with_array(label), None, {1: "x"}, "case")
    assert (tmp_path / "b.gif").stat().st_size < drawn.stat().st_size // 2


@pytest.mark.parametrize(("orientation", "oblique_deg"), [("LPS", 0), ("SLA", 25)])
def test_each_verdict_scrolls_past_on_its_own_side(orientation, oblique_deg):
    """The marked patient: right in front on the right, a false positive on the left, a miss behind."""
    parts = [turned(volume, orientation) for volume in marked(oblique_deg)]
    layers = lay(make_scene(*parts, (1,)), {1: "lesion"})
    frames = [np.asarray(frame).astype(int)[80:] for frame in _frames(layers.cropped(body_box(layers.scene)), "", 200)]
    middle = frames[0].shape[1] / 2
    places = {}
    for verdict, (_, colour) in VERDICTS.items():
        for number, frame in enumerate(frames):
            # Only the hue is compared: the grey below shines through.
            hue = frame - frame.mean(axis=2, keepdims=True)
            wanted = np.array(colour) - np.mean(colour)
            size = np.linalg.norm(hue, axis=2)
            alike = (hue @ wanted) / np.maximum(size * np.linalg.norm(wanted), 1e-9)
            rows, columns = np.nonzero((size > 45) & (alike > 0.97))
            if len(rows) > 150:
                places.setdefault(verdict, []).append((number, columns.mean() - middle, rows.mean()))
    right, false, missed = (np.mean(places[verdict], axis=0) for verdict in (1, 2, 3))
    assert right[1] < -20 and false[1] > 20  # the patient's right is on the left
    assert missed[0] < right[0] < false[0]  # from foot to head
    assert right[2] < false[2] < missed[2]  # anterior is up


def test_outlines_leave_the_image_visible(tmp_path):
    image, label = patient()
    shifted = label.with_array(np.roll(label.array, 2, axis=2))
    draw_overlay(tmp_path / "a.png", image, shifted, label, {1: "lesion"}, "case", look=Look(outlines=True))
    draw_overlay(tmp_path / "b.png", image, label.with_array(label.array * 0), None, {1: "lesion"}, "case")
    lined, bare = (heroes(pixels(tmp_path / name)) for name in ("a.png", "b.png"))
    vivid = np.ptp(lined, axis=2) > 60
    assert 2000 < vivid.sum() < 0.03 * vivid.size  # lines, no areas
    hue = structure_colour(0)
    assert (np.abs(lined - np.array(hue)).max(axis=2) < 12).sum() > 500
    assert (lined.min(axis=2) > 235).sum() > (bare.min(axis=2) > 235).sum() + 400  # the truth is white


def test_the_other_palette_is_used_everywhere(tmp_path):
    image, label = patient()
    nothing = label.with_array(np.zeros_like(label.array))
    draw_overlay(tmp_path / "a.png", image, label, nothing, {1: "lesion"}, "case", look=Look("safe"))
    shown = pixels(tmp_path / "a.png")
    assert (np.abs(shown - np.array(PALETTES["safe"].verdicts[2])).max(axis=2) < 10).sum() > 300
    assert not (np.abs(shown - np.array(RED)).max(axis=2) < 30).any()


def test_captions_say_the_mean_and_each_structure_and_volume():
    scores = {"core": {"dice": 0.8, "volume_ml": 3.04, "volume_truth_ml": 2.5, "hd95_mm": 2.0}, "rim": {"dice": 0.6}}
    assert case_caption("A", scores) == "A\nmean Dice 0.700 · core 0.800 · rim 0.600\ncore 3.0 ml (true 2.5 ml)"
    assert case_caption("A", {"core": {"dice": None}}) == "A"


def test_a_missing_library_is_named_with_its_way_out(tmp_path, monkeypatch):
    real = importlib.import_module

    def absent(name, *rest):
        if name.split(".")[0] in ("PIL", "jinja2"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", absent)
    image, label = patient()
    with pytest.raises(ValueError, match=r"pillow is missing.*decaseg\[report\]"):
        draw_overlay(tmp_path / "a.png", image, label, label, {1: "x"}, "c")
    assert not list(tmp_path.iterdir())
