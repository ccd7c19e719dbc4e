"""Calibration sees what prediction sees, and structures."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from decaseg.exporting.calibration import (
    FOREGROUND_SHARE,
    MAX_BYTES,
    CalibrationCase,
    draw_windows,
    windows_wanted,
)
from decaseg.geometry import int3
from decaseg.inference.windows import Windows, slabs

WINDOW = (8, 8, 8)
sizes = st.tuples(*[st.integers(5, 30)] * 3)


def made(name, size, seed, channels=1):
    """A case of noise with a small structure in it, with a corner that holds nothing."""
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(channels, *size)).astype(np.float32)
    foreground = np.zeros(size, bool)
    centre = [rng.integers(0, n) for n in size]
    foreground[tuple(slice(max(c - 2, 0), c + 2) for c in centre)] = True
    present = np.ones(size, bool)
    present[:3] = False
    return CalibrationCase(name, image, foreground, present | foreground)


def predicted_windows(case, step):
    """What the predictor gives its engine."""
    found = []

    def infer(windows):
        found.extend(windows)
        return np.zeros((len(windows), 2, *WINDOW), np.float32)

    places = Windows.over(int3(case.image.shape[1:]), WINDOW, step)
    for _ in slabs(case.image, places, infer, present=case.present, nothing=[20.0, -20.0]):
        pass
    return {window.tobytes() for window in found}


@settings(max_examples=25, deadline=None)
@given(st.lists(sizes, min_size=1, max_size=3), st.integers(0, 99), st.sampled_from([0.5, 0.75, 1.0]))
def test_windows_are_those_of_prediction_and_hold_foreground(shapes, seed, step):
    cases = [made(f"c{i}", size, seed + i, channels=2) for i, size in enumerate(shapes)]
    drawn = draw_windows(iter(cases), len(cases), WINDOW, step, seed)
    known = set().union(*(predicted_windows(case, step) for case in cases))
    assert all(window.shape == (1, 2, *WINDOW) and window.dtype == np.float32 for window in drawn.windows)
    assert {window.tobytes() for window in drawn.windows} <= known
    assert len({window.tobytes() for window in drawn.windows}) == len(drawn.windows), "none is drawn twice"
    assert set(drawn.cases) == {case.case for case in cases}, "each case has a part"
    assert drawn.with_foreground >= len(cases), "each case has a structure, so each gives a window of it"
    assert len(drawn.windows) <= windows_wanted(2, WINDOW)


def test_two_thirds_hold_foreground_where_it_is_rare():
    cases = [made(f"c{i}", (40, 40, 40), i) for i in range(4)]  # 729 windows each, some 8 to 27 with the structure
    drawn = draw_windows(iter(cases), 4, WINDOW, 0.5, seed=0)
    assert len(drawn.windows) == windows_wanted(1, WINDOW)
    assert FOREGROUND_SHARE <= drawn.with_foreground / len(drawn.windows) < 0.8


def test_equal_seeds_draw_equal_windows():
    def drawn(seed):
        return [w.tobytes() for w in draw_windows([made("a", (30, 30, 30), 0)], 1, WINDOW, 0.5, seed).windows]

    assert drawn(1) == drawn(1) != drawn(2)


def test_a_case_without_structures_gives_windows_too():
    case = made("a", (20, 20, 20), 0)
    empty = CalibrationCase("b", case.image, np.zeros_like(case.foreground), case.present)
    drawn = draw_windows([empty], 1, WINDOW, 0.5, seed=0)
    assert len(drawn.windows) == windows_wanted(1, WINDOW) and drawn.with_foreground == 0


def test_large_windows_are_fewer():
    for channels, edge in ((1, 32), (4, 160), (4, 256), (8, 400)):
        count = windows_wanted(channels, (edge,) * 3)
        assert count == 4 or count * channels * edge**3 * 4 <= MAX_BYTES
