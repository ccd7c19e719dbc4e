from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decaseg.reporting.raster import Camera, rasterise
from decaseg.reporting.surface import Surface

FAR = 1e6  # millimetres: as good as parallel rays
FRONT = Camera((0.0, 0.0, 0.0), 0.0, 0.0, FAR, 1.0, 40, 30)


def surface(points, faces):
    points = np.array(points, np.float32)
    towards = np.tile(np.float32([0, 1, 0]), (len(points), 1))  # anterior: to the eye of FRONT
    return Surface(points, towards, np.array(faces, np.int32), np.ones(len(points), np.float32))


def drawn(shape, values=None, seen=FRONT):
    values = np.ones((len(shape.points), 1), np.float32) if values is None else np.array(values, np.float32)
    layer = rasterise(shape, seen, values)
    picture = np.full(seen.width * seen.height, np.nan)
    picture[layer.pixels] = layer.values[:, 0]
    return picture.reshape(seen.height, seen.width)


def pixel(seen, point):
    (column, row), _ = (part[0] for part in seen.project(np.array([point], np.float32)))
    return column, row


def test_from_the_front_right_is_left_and_top_is_up():
    assert pixel(FRONT, (5, 0, 0)) == pytest.approx((15, 15), abs=0.01)
    assert pixel(FRONT, (0, 0, 5)) == pytest.approx((20, 10), abs=0.01)


def test_turning_goes_to_the_patients_left_ear_first():
    side = replace(FRONT, azimuth_deg=90.0)
    _, depth = side.project(np.array([[-5, 0, 0], [5, 0, 0]], np.float32))
    assert depth[0] > depth[1]  # the left ear is near
    assert pixel(side, (0, 5, 0))[0] == pytest.approx(15, abs=0.01)  # and the face looks to the picture's left


def test_elevation_looks_from_above_and_near_things_are_larger():
    above = replace(FRONT, elevation_deg=30.0)
    assert pixel(above, (0, 5, 0))[1] > 15  # what is in front lies lower
    near = replace(FRONT, distance_mm=20.0)
    assert 20 - pixel(near, (5, 10, 0))[0] == pytest.approx(10, abs=0.01)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-18, 18), st.floats(-13, 13)), min_size=3, max_size=3))
def test_exactly_the_pixels_whose_centres_lie_inside_are_covered(corners):
    shape = surface([(x, 0, z) for x, z in corners], [[0, 1, 2]])
    flipped = surface([(x, 0, z) for x, z in corners], [[0, 2, 1]])
    covered = ~np.isnan(drawn(shape)) | ~np.isnan(drawn(flipped))
    at = np.array([pixel(FRONT, (x, 0, z)) for x, z in corners], float)
    rows, columns = np.mgrid[0:30, 0:40] + 0.5
    sides = []
    for k in range(3):
        (ax, ay), (bx, by) = at[k], at[(k + 1) % 3]
        sides.append((bx - ax) * (rows - ay) - (by - ay) * (columns - ax))
    inside = np.all([s > 1e-3 for s in sides], axis=0) | np.all([s < -1e-3 for s in sides], axis=0)
    outside = np.any([s > 1e-2 for s in sides], axis=0) & np.any([s < -1e-2 for s in sides], axis=0)
    assert covered[inside].all()
    assert not covered[outside].any()


def test_a_sheet_of_triangles_has_no_holes_and_its_values_run_evenly():
    axis = np.linspace(-12, 12, 9)
    points = [(x, 0, z) for x in axis for z in axis]
    faces = []
    for i in range(8):
        for j in range(8):
            a, b, c, d = i * 9 + j, i * 9 + j + 1, (i + 1) * 9 + j, (i + 1) * 9 + j + 1
            faces += [[a, b, d], [a, d, c]]
    picture = drawn(surface(points, faces), [[x] for x, _, _ in points])
    assert np.isfinite(picture[3:27, 8:32]).all() and np.isfinite(picture).sum() == 24 * 24
    np.testing.assert_allclose(picture[10, 8:32], 11.5 - np.arange(24), atol=1e-3)


def test_the_nearer_sheet_is_seen_and_backs_are_not():
    near, far = [(9, 5, 9), (-9, 5, 9), (0, 5, -9)], [(9, -5, 9), (-9, -5, 9), (0, -5, -9)]
    both = drawn(surface([*near, *far], [[0, 1, 2], [3, 4, 5]]), [[1]] * 3 + [[2]] * 3)
    assert set(both[np.isfinite(both)]) == {1.0}
    turned_away = surface(near, [[0, 1, 2]])
    turned_away = Surface(turned_away.points, -turned_away.normals, turned_away.faces, turned_away.openness)
    assert np.isnan(drawn(turned_away)).all()


def test_what_lies_outside_the_picture_is_cut():
    assert np.isfinite(drawn(surface([(100, 0, 100), (-100, 0, 100), (0, 0, -100)], [[0, 1, 2]]))).all()
    assert np.isnan(drawn(surface([(100, 0, 1), (90, 0, 1), (95, 0, -1)], [[0, 1, 2]]))).all()
