"""Colours: what readers without red or green cones can still tell apart, by the model of Machado et al. (2009)."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from decaseg.reporting.look import MISSED, PALETTES, RIGHT, Look
from decaseg.reporting.paint import Coat

MACHADO = {  # severity 1.0, for linear RGB
    "normal": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                              [-0.011820, 0.042940, 0.968881]]),
}  # fmt: skip


def lab(colour, reader):
    share = np.asarray(colour, float) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    seen = np.clip(MACHADO[reader] @ linear, 0, 1)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    xyz = np.array(to_xyz) @ seen / np.array([0.95047, 1, 1.08883])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def painted(colour, grey):
    coat = Coat({})
    return [coat.fill * part + (1 - coat.fill) * coat.dimmed * grey for part in colour]


def apart(palette, a, b, reader, grey):
    colours = PALETTES[palette].verdicts
    return float(np.linalg.norm(lab(painted(colours[a], grey), reader) - lab(painted(colours[b], grey), reader)))


@pytest.mark.parametrize("reader", MACHADO)
@pytest.mark.parametrize("grey", [60, 150, 220])
def test_any_two_verdicts_of_the_safe_palette_differ_for_every_reader(reader, grey):
    for a, b in itertools.combinations(PALETTES["safe"].verdicts, 2):
        assert apart("safe", a, b, reader, grey) > 20, (a, b)


def test_the_safe_palette_is_needed():
    assert apart("intel", RIGHT, MISSED, "normal", 150) > 30
    assert apart("intel", RIGHT, MISSED, "deuteranopia", 150) < 5


def test_structures_differ_among_each_other_and_from_verdicts():
    for name, palette in PALETTES.items():
        first = [*palette.structures[:3], *palette.verdicts.values()]
        for a, b in itertools.combinations(first, 2):
            assert np.linalg.norm(lab(a, "normal") - lab(b, "normal")) > 20, (name, a, b)


def test_what_there_is_not_is_refused_with_what_there_is():
    with pytest.raises(ValueError, match="--palette rainbow: choose intel or safe"):
        Look("rainbow")
    with pytest.raises(ValueError, match="--animations avi: choose among gif, webp, mp4, or none"):
        Look(animations=("gif", "avi"))
