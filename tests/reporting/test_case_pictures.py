from __future__ import annotations

import importlib

import numpy as np
import pytest
from PIL import Image

from decaseg.reporting.case_pictures import Shown, check_drawing, draw_case
from decaseg.reporting.look import Look
from tests.reporting.phantoms import patient


def test_a_case_gets_a_still_what_scrolls_and_what_turns(tmp_path, monkeypatch):
    monkeypatch.setattr("decaseg.reporting.turning.FRAMES", 3)
    monkeypatch.setattr("decaseg.reporting.turning.SIDE", 160)
    image, label = patient()
    shown = Shown(image, label, label, {0: "background", 1: "lesion"}, "scan.1\nDice 1.000")
    draw_case(tmp_path / "scan.1", shown)
    names = {"scan.1.png", "scan.1.gif", "scan.1.webp", "scan.1_3d.gif", "scan.1_3d.webp"}
    assert {path.name for path in tmp_path.iterdir()} == names
    draw_case(tmp_path / "still", shown, Look(animations=()))
    assert {path.name for path in tmp_path.iterdir()} == names | {"still.png"}
    with Image.open(tmp_path / "scan.1.png") as one, Image.open(tmp_path / "still.png") as other:
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def test_what_is_missing_is_said_before_any_work(monkeypatch):
    real = importlib.import_module

    def absent(name, *rest):
        if name.startswith("skimage"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(ValueError, match=r"scikit-image is missing.*decaseg\[report\]"):
        check_drawing(Look())
    check_drawing(Look(animations=()))
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(importlib, "import_module", real)
    with pytest.raises(ValueError, match="ffmpeg"):
        check_drawing(Look(animations=("mp4",)))
