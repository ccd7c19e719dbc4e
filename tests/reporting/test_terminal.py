from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from decaseg.reporting.paint import VERDICTS
from decaseg.reporting.terminal import HALF, print_slice
from tests.reporting.phantoms import ORIENTATIONS, patient, turned

NAMES = {1: "lesion"}


def printed(colour, width=60, height=30, orientation="RAS", **more):
    image, truth = (turned(v, orientation) for v in patient())
    text = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    console = Console(
        file=text, width=width, height=height, force_terminal=colour, color_system="truecolor" if colour else None
    )
    print_slice(image, more.pop("prediction", truth), more.pop("truth", truth), NAMES, "case", console=console, **more)
    text.flush()
    return text.buffer.getvalue().decode().rstrip("\n").split("\n")


def cells(line):
    """(upper colour, lower colour) of each half block of a line."""
    found = re.findall(r"\x1b\[38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)m" + f"({HALF}+)", line)
    return [(tuple(map(int, f[:3])), tuple(map(int, f[3:6]))) for f in found for _ in f[6]]


def purple(colour):
    return min(colour[0], colour[2]) - colour[1] > 25


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("orientation", ORIENTATIONS[:4])
def test_right_is_left_and_front_and_head_are_up(orientation, plane):
    """The structure is to the patient's right, in front and above: left and up in every plane."""
    lines = [row for line in printed(True, orientation=orientation, plane=plane) if (row := cells(line))]
    places = [(2 * r + half, c) for r, row in enumerate(lines) for c, both in enumerate(row) for half in (0, 1)
              if purple(both[half])]  # fmt: skip
    assert places
    down, across = (sum(place[i] for place in places) / len(places) for i in (0, 1))
    assert across < 0.46 * len(lines[0]) and down < 0.46 * 2 * len(lines)


def test_it_fits_the_terminal_keeps_proportions_and_says_what_it_shows():
    lines = printed(True, 60, 30)
    plain = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in lines]
    assert len(lines) <= 30 and max(map(len, plain)) <= 60
    rows = [row for line in lines if (row := cells(line))]
    assert len(rows[0]) / (2 * len(rows)) == pytest.approx(36 / 30, rel=0.1)
    assert plain[0].startswith("case  axial, z 32.0 mm")
    assert [plain[1].strip(), plain[1 + len(rows) + 1].strip()] == ["A", "P"]
    assert any(re.match(r" +R .*L$", line) for line in plain)
    assert f"■ {VERDICTS[1][0]} 0.3 ml" in plain[-1]


def test_without_colour_classes_are_letters():
    text = "\n".join(printed(False))
    assert "\x1b" not in text and HALF not in text
    assert re.search(r"RRRR", text) and "R = right" in text


def test_structures_with_the_same_initial_have_different_letters(monkeypatch):
    monkeypatch.setitem(NAMES, 2, "lung")
    text = printed(False, truth=None)
    assert re.search(r"^L = lesion 0\.3 ml +U = lung 0\.0 ml", text[-1].strip()) and "LLLL" in "\n".join(text)


def test_an_image_alone_has_no_legend():
    lines = printed(True, prediction=None, truth=None)
    assert lines[-1].strip() == "P"


def test_an_unknown_plane_is_refused():
    with pytest.raises(ValueError, match="axial, coronal, sagittal"):
        printed(True, plane="oblique")
