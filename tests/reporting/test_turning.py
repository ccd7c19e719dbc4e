"""The turning view: where each colour stands from each side, for patients filed along any axes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageSequence

from decaseg.reporting import turning
from decaseg.reporting.look import FALSE_POSITIVE, MISSED, PALETTES, RIGHT, Look
from decaseg.reporting.overlay import lay
from decaseg.reporting.planes import make_scene
from decaseg.reporting.turning import draw_turning, turning_frames
from tests.reporting.phantoms import marked, patient, turned


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(turning, "SIDE", 240)
    monkeypatch.setattr(turning, "PAIR_SIDE", 200)
    monkeypatch.setattr(turning, "START_DEG", 0.0)  # the first of four frames looks the patient in the face


def places(frame, colours=PALETTES["intel"].verdicts, top=132):
    """Where each verdict's hue is: the mean column, from the middle, the mean row and the pixels."""
    picture = np.asarray(frame).astype(float)[top:]
    hue = picture - picture.mean(axis=2, keepdims=True)
    size = np.linalg.norm(hue, axis=2)
    found = {}
    for verdict, colour in colours.items():
        wanted = np.array(colour) - np.mean(colour)
        alike = (hue @ wanted) / np.maximum(size * np.linalg.norm(wanted), 1e-9)
        rows, columns = np.nonzero((size > 40) & (alike > 0.96))
        if len(rows) > 60:
            found[verdict] = columns.mean() - picture.shape[1] / 2, rows.mean(), len(rows)
    return found


def layers_of(volumes, names=None, look=None):
    names = names or {1: "lesion"}
    return lay(make_scene(*volumes, tuple(names)), names, look)


@pytest.mark.parametrize(("orientation", "oblique_deg"), [("RAS", 0), ("LPS", 0), ("IPL", 0), ("SLA", 20)])
def test_left_is_left_from_every_side(orientation, oblique_deg):
    volumes = [turned(volume, orientation) for volume in marked(oblique_deg)]
    front, left, back, right = (places(frame) for frame in turning_frames(layers_of(volumes), "case", 4))
    for side in (front, left, back, right):
        assert set(side) == {RIGHT, FALSE_POSITIVE, MISSED}
        assert side[FALSE_POSITIVE][1] < side[RIGHT][1] < side[MISSED][1]  # above, level, below
    # Right and in front; left; behind. Columns grow to the picture's right.
    assert front[RIGHT][0] < -15 < 15 < front[FALSE_POSITIVE][0]
    assert left[RIGHT][0] < -15 < 15 < left[MISSED][0]  # the face looks to the picture's left
    assert back[FALSE_POSITIVE][0] < -15 < 15 < back[RIGHT][0]
    assert right[MISSED][0] < -15 < 15 < right[RIGHT][0]


def test_the_same_patient_filed_otherwise_gives_the_same_picture():
    frames = []
    for orientation in ("RAS", "PIR"):
        volumes = [turned(volume, orientation) for volume in marked()]
        frames.append(np.asarray(turning_frames(layers_of(volumes), "case", 1)[0]).astype(int))
    np.testing.assert_array_equal(*frames)


def test_the_shell_is_seen_and_seen_through():
    frame = np.asarray(turning_frames(layers_of(marked()), "case", 1)[0]).astype(int)
    ground = frame[70, 2]
    grey = (np.abs(frame - ground).max(axis=2) > 12) & (np.ptp(frame, axis=2) < 40)
    assert grey[132:].mean() > 0.2  # glass
    colour = PALETTES["intel"].verdicts[RIGHT]
    column, row, count = places(frame)[RIGHT]
    seen = frame[int(row) + 132, int(column) + frame.shape[1] // 2]
    assert count > 200
    assert seen[2] > 0.55 * colour[2] and seen[2] > seen[1] + 60  # what is inside keeps its colour


def test_several_structures_get_two_panels_and_the_palette_is_kept():
    image, prediction, truth = marked()
    confused = prediction.array.copy()
    confused[:, :, :, 16:] *= 2
    volumes = image, prediction.with_array(confused), truth
    layers = layers_of(volumes, {1: "core", 2: "rim"}, Look("safe"))
    frame = turning_frames(layers, "case", 1)[0]
    assert frame.width == 400
    picture, top = np.asarray(frame), frame.height - 180  # the panels without what explains them
    verdicts = places(picture[:, :200], PALETTES["safe"].verdicts, top)
    assert {RIGHT, FALSE_POSITIVE, MISSED} <= set(verdicts)
    structures = places(picture[:, 200:], dict(enumerate(PALETTES["safe"].structures[:2])), top)
    assert set(structures) == {0, 1} and structures[1][1] < structures[0][1]


def test_a_crop_stands_on_its_slice_and_empty_or_truthless_cases_turn_too():
    image, label = patient()
    crop = image.with_array(np.random.default_rng(0).uniform(50, 250, image.array.shape).astype(np.float32))
    frame = np.asarray(turning_frames(layers_of((crop, label, label)), "case", 1)[0]).astype(int)
    floor = frame[frame.shape[0] // 2 :]
    assert floor.max(axis=2).std() > 15 and (floor.max(axis=2) > 60).mean() > 0.15
    nothing = label.with_array(np.zeros_like(label.array))
    for volumes in ((image, nothing, nothing), (image, label, None), (crop, nothing, nothing)):
        assert len(turning_frames(layers_of(volumes), "", 2)) == 2


def test_the_files_turn_and_keep_their_limit(tmp_path):
    layers = layers_of(marked())
    draw_turning(tmp_path / "a.b", layers, "case\nDice 0.5", ("gif", "webp"), frames=6)
    for kind in ("gif", "webp"):
        path = tmp_path / f"a.b_3d.{kind}"
        assert path.stat().st_size < turning.MAX_BYTES
        with Image.open(path) as moving:
            frames = [np.asarray(frame.convert("RGB")).astype(int) for frame in ImageSequence.Iterator(moving)]
        assert len(frames) == 6
        assert np.abs(frames[0] - frames[3]).mean() > 2
        assert set(places(frames[0])) == {RIGHT, FALSE_POSITIVE, MISSED}  # a GIF's few colours keep the three apart
