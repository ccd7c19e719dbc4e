from __future__ import annotations

import numpy as np
import pytest

from decaseg.reporting.look import CONFUSED, FALSE_POSITIVE, MISSED, RIGHT
from decaseg.reporting.planes import make_scene
from decaseg.reporting.surface import find_body, label_surfaces, verdict_surfaces
from decaseg.volume import Volume


def ball(shape, centre, radius_mm, spacing=(1.0, 1.0, 1.0)):
    grid = np.meshgrid(*[np.arange(n) * s for n, s in zip(shape, spacing, strict=True)], indexing="ij")
    return sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= radius_mm**2


def scene_of(prediction, truth, image=None, spacing=(1.0, 1.0, 1.0)):
    affine = np.diag([*spacing, 1.0])
    image = np.ones(truth.shape, np.float32) if image is None else image
    volumes = [Volume.of(array, affine) for array in (image, prediction.astype(np.uint8), truth.astype(np.uint8))]
    return make_scene(*volumes, (1, 2))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 0.7, 3.0)])
def test_a_ball_is_round_in_any_voxels_and_looks_outwards(spacing):
    shape = tuple(int(40 / s) for s in spacing)
    truth = ball(shape, (20, 18, 21), 10, spacing)
    made = verdict_surfaces(scene_of(truth, truth, spacing=spacing), (1,))
    assert set(made) == {RIGHT}
    surface = made[RIGHT]
    out = surface.points - np.array([20, 18, 21])
    radius = np.linalg.norm(out, axis=1)
    assert radius.mean() == pytest.approx(10, abs=0.4)
    assert radius.std() < 0.45
    assert ((surface.normals * out / radius[:, None]).sum(axis=1) > 0.7).all()


def test_each_verdict_lies_where_it_belongs():
    truth = ball((60, 40, 40), (20, 20, 20), 9)
    prediction = ball((60, 40, 40), (26, 20, 20), 9)
    made = verdict_surfaces(scene_of(prediction, truth), (1,))
    assert set(made) == {RIGHT, FALSE_POSITIVE, MISSED}
    middles = {verdict: surface.points[:, 0].mean() for verdict, surface in made.items()}
    assert middles[MISSED] < 18 and middles[FALSE_POSITIVE] > 28
    assert middles[RIGHT] == pytest.approx(23, abs=0.5)


def test_several_structures_show_what_was_called_another_one():
    truth = ball((40, 40, 40), (20, 20, 20), 10).astype(np.uint8)
    prediction = truth.copy()
    prediction[:, :, 20:] *= 2  # the upper half is called another structure
    made = verdict_surfaces(scene_of(prediction, truth), (1, 2))
    assert set(made) == {RIGHT, CONFUSED}
    assert made[CONFUSED].points[:, 2].min() > 18 and made[RIGHT].points[:, 2].max() < 21.5
    parts = label_surfaces(scene_of(prediction, truth), prediction)
    assert parts[1].points[:, 2].mean() < 20 < parts[2].points[:, 2].mean()


def test_specks_of_one_voxel_are_not_lost_and_nothing_gives_nothing():
    truth = ball((40, 40, 40), (20, 20, 20), 8)
    prediction = truth.copy()
    prediction[35, 20, 20] = True
    made = verdict_surfaces(scene_of(prediction, truth), (1,))
    assert np.abs(made[FALSE_POSITIVE].points - np.array([35, 20, 20])).max() < 1.2
    nothing = np.zeros(truth.shape, bool)
    assert verdict_surfaces(scene_of(nothing, nothing), (1,)) == {}
    assert label_surfaces(scene_of(nothing, nothing), nothing.astype(np.uint8)) == {}


def test_bodies_are_told_apart_and_a_crop_has_no_surface():
    rng = np.random.default_rng(0)
    inside = ball((60, 60, 60), (30, 30, 30), 22)
    lesion = ball((60, 60, 60), (30, 30, 36), 5)
    brain = np.where(inside, rng.uniform(400, 600, inside.shape), 0).astype(np.float32)
    body = find_body(scene_of(lesion, lesion, brain))
    assert body.kind == "brain"
    assert np.linalg.norm(body.surface.points - 30, axis=1).mean() == pytest.approx(22, abs=1)
    head = np.where(inside, rng.uniform(400, 600, inside.shape), rng.uniform(5, 20, inside.shape)).astype(np.float32)
    body = find_body(scene_of(lesion, lesion, head))
    assert body.kind == "head or trunk"
    assert np.linalg.norm(body.surface.points - 30, axis=1).mean() == pytest.approx(22, abs=1.5)
    ct = np.where(inside, rng.uniform(-80, 80, inside.shape), -1000).astype(np.float32)
    assert find_body(scene_of(lesion, lesion, ct)).kind == "head or trunk"
    crop = rng.uniform(50, 90, inside.shape).astype(np.float32)
    assert find_body(scene_of(lesion, lesion, crop)).surface is None
    assert find_body(scene_of(lesion, lesion, crop * 0)).surface is None
