"""The varied FLAIR cases: the same bytes from the same numbers, tumours brighter than the brain, and real variety."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from decaseg.data.phantom import write_dataset
from decaseg.data.phantom.anatomy import draw_head, draw_tissues
from decaseg.data.phantom.artefacts import draw_distortion, field_of_view
from decaseg.data.phantom.frame import Frame
from decaseg.data.phantom.skull_strip import leftovers
from decaseg.data.phantom.template import load
from decaseg.data.phantom.tumour import EDEMA, Tumour, draw_core, draw_tumour
from decaseg.data.phantom.variety import (
    _dead,
    _outlined,
    _posterior_fossa,
    draw_contrast,
    draw_varied_case,
    draw_varied_character,
)
from decaseg.storage import nifti
from decaseg.storage.layouts import read_dataset

pytest.importorskip("nilearn")
SPACING_MM = 4.0
CASES = 10


@pytest.fixture(scope="module")
def cases():
    return [draw_varied_case(5, number, SPACING_MM) for number in range(CASES)]


def digest(case) -> str:
    return hashlib.sha256(b"".join(volume.array.tobytes() for volume in case)).hexdigest()


def test_the_numbers_alone_decide(cases):
    assert digest(draw_varied_case(5, 3, SPACING_MM)) == digest(cases[3])
    assert len({digest(case) for case in cases}) == CASES


def test_images_are_stripped_brains_and_labels_lie_in_them(cases):
    for image, label in cases:
        assert image.array.dtype == np.int16
        assert image.array.shape == label.array.shape
        assert set(np.unique(label.array)) <= {0, 1, 2, 3}
        assert (label.array > 0).any()
        assert (image.array[label.array > 0] > 0).all()
        assert 600 < (image.array > 0).sum() * image.grid.voxel_ml < 2600
        assert image.orientation == "RAS"


def test_most_tumours_outshine_the_brain(cases):
    brighter = 0
    for image, label in cases:
        brain = (image.array > 0) & (label.array == 0)
        brighter += image.array[label.array > 0].mean() > image.array[brain].mean()
    assert brighter >= 0.8 * CASES  # the rest are mostly dark inside


def test_tumours_are_of_every_size_and_in_both_halves():
    rng = np.random.default_rng(0)
    characters = [draw_varied_character(rng) for _ in range(400)]
    cores = np.array([c.core_ml for c in characters])
    assert cores.min() < 2
    assert cores.max() > 120
    assert 0.2 < np.mean([c.edema_ml < 3.1 for c in characters]) < 0.45
    assert max(c.core_ml + c.edema_ml for c in characters) <= 290.1
    assert 0.4 < np.mean([c.infiltrates > 0 for c in characters]) < 0.6


def test_oedema_is_brighter_than_cortex_and_many_cores_are_dead_inside():
    rng = np.random.default_rng(1)
    drawn = [draw_contrast(rng) for _ in range(300)]
    assert all(c.edema >= c.gm + 0.19 for c in drawn)
    assert 0.3 < np.mean([np.isfinite(c.shell_mm) and c.dead < 1.0 for c in drawn]) < 0.7
    assert 0.2 < np.mean([c.islands_mm > 0 for c in drawn]) < 0.4


def test_infiltration_takes_cortex_that_oedema_leaves():
    template, frame = load(), Frame(SPACING_MM)
    head = draw_head(template, frame, np.random.default_rng(3))
    tissues = draw_tissues(template, head)
    share = {}
    for infiltrates in (0.0, 1.0):
        rng = np.random.default_rng(4)
        character = replace(draw_varied_character(rng), core_ml=10.0, edema_ml=60.0, infiltrates=infiltrates)
        core = draw_core(template, head, character, np.random.default_rng(5))
        labels = draw_tumour(head, tissues, core, character, np.random.default_rng(6)).labels
        share[infiltrates] = tissues.gm[labels == EDEMA].mean()
    assert share[1.0] > share[0.0] + 0.1


def test_dead_tissue_lies_under_a_living_shell():
    frame = Frame(SPACING_MM)
    core = np.zeros(frame.shape, np.float32)
    core[12:28, 12:28, 12:28] = 1
    flat = np.zeros(frame.shape, np.float32)
    scene = SimpleNamespace(core=core, necrosis=flat)
    rng = np.random.default_rng(7)
    contrast = replace(draw_contrast(rng), shell_mm=6.0, islands_mm=0.0)
    dead = _dead(frame, scene, contrast, rng)
    assert dead[20, 20, 20] == 1
    assert dead[12, 20, 20] == 0
    assert not dead[core == 0].any()
    assert not _dead(frame, scene, replace(contrast, shell_mm=np.inf), rng).any()


def test_bright_remains_outside_the_brain_are_rare():
    """Where every brain has them, a network takes a bright temporal pole, all surface, for one."""
    template, frame = load(), Frame(SPACING_MM)
    head = draw_head(template, frame, np.random.default_rng(12))
    flat = head.brain.astype(np.float32)
    bright_ml = []
    for number in range(40):
        signal, inside = leftovers(flat, head, np.random.default_rng(number))
        assert not signal[~inside].any()
        bright_ml.append((signal[inside & ~head.brain] > 1.2).sum() * frame.voxel_ml)
    assert 0.02 < np.mean(np.array(bright_ml) > 10) < 0.3


def test_tumours_that_begin_near_the_surface_reach_it():
    template, frame = load(), Frame(SPACING_MM)
    head = draw_head(template, frame, np.random.default_rng(13))
    character = replace(draw_varied_character(np.random.default_rng(14)), core_ml=20.0, lobes=1)
    shares = {}
    for where in ("surface", "usual"):
        cores = [draw_core(template, head, character, np.random.default_rng(n), where, loose=True) for n in range(8)]
        shares[where] = np.mean([(head.depth_mm[core > 0] < 6).mean() for core in cores])
    assert shares["surface"] > shares["usual"] + 0.1


def test_what_shines_with_the_cerebellum_is_no_temporal_lobe():
    template, frame = load(), Frame(SPACING_MM)
    head = draw_head(template, frame, np.random.default_rng(9))
    fossa = _posterior_fossa(head)

    def at(*point):
        away = ((head.template_mm - np.reshape(point, (3, 1, 1, 1))) ** 2).sum(axis=0)
        return fossa[np.unravel_index(away.argmin(), away.shape)]

    assert at(20, -65, -40) > 0.8  # cerebellum
    assert at(0, -28, -40) > 0.8  # pons
    assert at(42, 5, -36) < 0.05  # pole of the temporal lobe
    assert at(45, -15, -30) < 0.05  # temporal lobe
    assert at(20, -65, 20) < 0.05  # parietal


def test_the_outline_lies_where_the_contrast_is_and_closes_over_the_core():
    frame = Frame(SPACING_MM)
    shape = frame.shape
    wet, core, brain = np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.ones(shape, bool)
    wet[10:30, 10:30, 10:30] = 1
    wet[30:34, 10:30, 10:30] = 0.1  # 0.1 of the oedema's water shines as 0.5 where it soaks evenly
    core[15:20, 15:20, 15:20] = 1
    labels = np.where(core > 0, 2, 0).astype(np.uint8)
    scene, tumour = SimpleNamespace(edema=wet, core=core, brain=brain), Tumour(labels, wet)
    contrast = draw_contrast(np.random.default_rng(8))
    even = _outlined(frame, scene, tumour, replace(contrast, soak=0.3))
    steep = _outlined(frame, scene, tumour, replace(contrast, soak=1.0))
    assert even[32, 20, 20] == EDEMA
    assert steep[32, 20, 20] == 0
    assert (steep[core > 0] == 2).all()
    assert steep[25, 20, 20] == EDEMA


def test_every_third_scan_is_cropped():
    rng, frame = np.random.default_rng(2), Frame(SPACING_MM)
    inside = np.ones(frame.shape, bool)
    cut = [not field_of_view(inside, frame, rng).all() for _ in range(200)]
    assert 0.22 < np.mean(cut) < 0.45
    assert any(draw_distortion(rng).slices for _ in range(20))


def test_they_make_a_data_set_with_one_channel(tmp_path):
    dataset = read_dataset(write_dataset(tmp_path, 2, 7, SPACING_MM, varied=True))
    assert tuple(dataset.channels) == ("FLAIR",)
    assert [files.case for files in dataset.training] == ["FLAIR_7_001", "FLAIR_7_002"]
    assert nifti.read(dataset.training[0].image).array.shape[0] == 1
