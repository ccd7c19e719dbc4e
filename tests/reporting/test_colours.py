"""The colours of series, computed as people with the three kinds of colour blindness see them."""

from __future__ import annotations

import re
from itertools import combinations

import numpy as np
import pytest

from decaseg.reporting.page import TEMPLATES

# Full protanopia, deuteranopia and tritanopia on linear RGB: Machado, Oliveira and Fernandes 2009, table 1.
SEES = {
    "all colours": np.eye(3),
    "no red": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "no green": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "no blue": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def palettes():
    """(name, variables) of the light and the dark colours, as the style has them."""
    css = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    blocks = re.findall(r"\{([^{}]*--ground:[^{}]*)\}", css)
    found = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]+);", block)) for block in blocks]
    assert len(found) == 4 and found[1] == found[2]  # dark by choice and dark by system are the same
    return {"light": found[0], "dark": found[1]}


def linear(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(2 * d for d in colour[1:])
    values = np.array([int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(values):
    xyz = TO_XYZ @ np.clip(values, 0, 1) / (0.9505, 1.0, 1.089)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(one, other):
    high, low = sorted((TO_XYZ[1] @ linear(one), TO_XYZ[1] @ linear(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_marks_stand_out_from_their_ground_and_words_can_be_read(theme):
    colours = palettes()[theme]
    for name in (f"c{i}" for i in range(8)):
        assert contrast(colours[name], colours["card"]) >= 3, name  # WCAG 1.4.11
    words = (("ink", "card"), ("quiet", "card"), ("quiet", "ground"), ("accent", "card"), ("warn-ink", "warn-ground"))
    for ink, ground in words:
        assert contrast(colours[ink], colours[ground]) >= 4.5, ink  # WCAG 1.4.3


@pytest.mark.parametrize("sight", SEES)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_first_four_structures_and_better_and_worse_are_told_apart(theme, sight):
    """By 10 units of CIELAB, some four times what the eye just tells; more structures have rows of their own."""
    colours = palettes()[theme]
    for one, other in combinations(("c1", "c2", "c3", "c4"), 2):
        apart = np.linalg.norm(lab(SEES[sight] @ linear(colours[one])) - lab(SEES[sight] @ linear(colours[other])))
        assert apart > 10, (one, other, apart)
