from __future__ import annotations

import numpy as np
import pytest

from decaseg.reporting.paint import (
    CONFUSED,
    FALSE_POSITIVE,
    MISSED,
    RIGHT,
    VERDICTS,
    Coat,
    judge,
    nice_length_mm,
    paint_slice,
)

PREDICTION = np.array([[0, 1, 1, 0, 2]], np.uint8)
TRUTH = np.array([[0, 1, 0, 1, 1]], np.uint8)


def test_every_voxel_gets_its_verdict():
    assert judge(PREDICTION, TRUTH).tolist() == [[0, RIGHT, FALSE_POSITIVE, MISSED, CONFUSED]]


def test_colours_at_voxel_centres_are_those_of_the_legend():
    verdict = np.repeat(judge(PREDICTION, TRUTH), 3, axis=0)
    colours = {value: colour for value, (_, colour) in VERDICTS.items()}
    picture = paint_slice(np.full(verdict.shape, 100, np.float32), verdict, (200, 120), Coat(colours))
    for column, value in enumerate(verdict[0]):
        pixel = picture.getpixel((column * 40 + 20, 60))
        # Fill over grey 100 dimmed to 64; nothing on the background.
        expected = [round(0.52 * c + 0.48 * 64) for c in colours[value]] if value else [100, 100, 100]
        assert np.abs(np.subtract(pixel, expected)).max() <= 1
    purple, red, blue = (picture.getpixel((x, 60)) for x in (60, 100, 140))
    assert purple[2] > purple[0] > purple[1]
    assert red[0] > 1.5 * max(red[1:])
    assert blue[2] > blue[1] > blue[0]


def test_single_voxels_survive_and_rims_are_stronger_than_fill():
    classes = np.zeros((9, 9), np.uint8)
    classes[4, 4] = 1
    picture = np.asarray(paint_slice(np.zeros((9, 9), np.float32), classes, (270, 270), Coat({1: (255, 0, 0)})))
    assert picture[135, 135, 0] == round(0.52 * 255)
    assert picture[..., 0].max() > 235
    assert picture[:100].max() == 0


def test_outlines_leave_the_inside_alone():
    outlined = np.zeros((20, 20), np.uint8)
    outlined[5:15, 5:15] = 1
    coat = Coat({}, outlines={1: (0, 255, 0)})
    nothing = np.zeros((20, 20), np.uint8)
    picture = np.asarray(paint_slice(nothing.astype(np.float32), nothing, (200, 200), coat, outlined))
    assert picture[100, 100].max() == 0
    assert picture[100, 45:55, 1].max() == 255


@pytest.mark.parametrize(("width", "length"), [(140, 20), (35, 10), (1, 1), (900, 200)])
def test_scale_bars_have_round_lengths(width, length):
    assert nice_length_mm(width) == length
