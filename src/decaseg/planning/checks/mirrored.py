"""Cases that look mirrored or turned against the others, and label maps that fit their image better when mirrored.

Only where the anatomy itself tells: most of a set's cases must resemble the mean of the others clearly more as they
are than mirrored. A brain is too symmetric for left and right; for front and back, or for a liver, it tells.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from decaseg.planning.checks.problem import Problem
from decaseg.planning.checks.survey import Survey
from decaseg.planning.checks.thumbnails import Comparable, comparables

FEWEST = 5  # cases, to say what is usual
CLEAR = 0.05  # difference of correlations, in the median, from which on anatomy counts as telling
NEAR = 0.4  # of that median: closer to nothing, a case does not tell
SPREAD = 0.35  # and the differences must be alike: median deviation, relative to the median
MOST = 0.9  # of all cases must tell
MAJORITY = 0.6  # of all cases must lie one way, so that the others are the odd ones
Turn = tuple[int, int, int]  # for each axis: 1 as it is, -1 reversed
WORDS: dict[Turn, str] = {
    (-1, 1, 1): "with left and right exchanged",
    (1, -1, 1): "with front and back exchanged",
    (1, 1, -1): "with head and feet exchanged",
    (-1, -1, 1): "turned by half about the long axis, as when LPS is taken for RAS",
    (-1, 1, -1): "turned by half about the axis from front to back",
    (1, -1, -1): "turned by half about the axis from left to right",
    (-1, -1, -1): "with all three axes reversed",
}


def find(survey: Survey) -> Iterator[Problem]:
    """Warnings: somebody should look."""
    found = list(comparables(survey))
    if len(found) < FEWEST:
        return
    for one, turn, own, other in _odd_images(found):
        evidence = f"{other:.2f} so, {own:.2f} as stored"
        fault = f"resembles the other cases more {WORDS[turn]} (correlation with their mean {evidence})"
        fix = "compare it with another in decaseg view; if it is so, mend its affine, and its label's"
        yield Problem(one.case.image.file, fault, fix, "warning")
    labelled = [one for one in found if one.label is not None]
    if len(labelled) >= FEWEST:
        for one, turn, own, other in _odd_labels(labelled):
            fault = f"fits its image better {WORDS[turn]} (correlation {other:.2f} so, {own:.2f} as stored)"
            assert one.case.label is not None
            fix = "look at both in decaseg view; if it is so, reverse its voxels or draw it anew"
            yield Problem(one.case.label.file, fault, fix, "warning")


def _odd_images(found: list[Comparable]) -> Iterator[tuple[Comparable, Turn, float, float]]:
    images = np.stack([one.image for one in found])
    means = images.sum(axis=0) - images  # of all the others, but for a factor
    means /= np.maximum(means.std(axis=(1, 2, 3), keepdims=True), 1e-9)
    own = (images * means).mean(axis=(1, 2, 3))
    best: dict[int, tuple[float, Turn, float]] = {}
    for turn in WORDS:
        other = (_turned(images, turn) * means).mean(axis=(1, 2, 3))
        for place in _against_most(other - own):
            gain = float(other[place] - own[place])
            if gain > best.get(place, (0.0,))[0]:
                best[place] = gain, turn, float(other[place])
    for place, (_, turn, other_of_it) in sorted(best.items()):
        yield found[place], turn, float(own[place]), other_of_it


def _odd_labels(found: list[Comparable]) -> Iterator[tuple[Comparable, Turn, float, float]]:
    """By how well the label map sets bright from dark; which of the two it marks is the same throughout a set."""
    images = np.stack([one.raw for one in found]).astype(np.float64)
    labels = np.stack([one.label for one in found if one.label is not None]).astype(np.float64)
    own = _correlations(images, labels)
    sign = 1.0 if np.median(own) >= 0 else -1.0
    best: dict[int, tuple[float, Turn, float]] = {}
    for turn in WORDS:
        other = _correlations(images, _turned(labels, turn))
        gains = sign * (other - own)
        usual = float(np.median(np.abs(gains)))
        if usual < CLEAR or np.mean(gains < 0) < MOST:
            continue
        for place in np.flatnonzero(gains > 0.7 * usual).tolist():
            if gains[place] > best.get(place, (0.0,))[0]:
                best[place] = float(gains[place]), turn, float(other[place])
    for place, (_, turn, other_of_it) in sorted(best.items()):
        yield found[place], turn, float(own[place]), other_of_it


def _against_most(gains: NDArray[np.float64]) -> list[int]:
    """The cases that would gain by a turn, where nearly all tell, alike, and most would lose by it."""
    size = np.abs(gains)
    usual = float(np.median(size))
    telling = size > NEAR * usual
    alike = float(np.median(np.abs(size - usual))) <= SPREAD * usual
    if usual < CLEAR or telling.mean() < MOST or not alike or np.mean(gains < 0) < MAJORITY:
        return []
    return [int(place) for place in np.flatnonzero(gains > 0.5 * usual)]


def _turned(cells: NDArray[np.float64], turn: Turn) -> NDArray[np.float64]:
    return cells[:, :: turn[0], :: turn[1], :: turn[2]]


def _correlations(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each volume with the one at the same place."""
    centred = [cells - cells.mean(axis=(1, 2, 3), keepdims=True) for cells in (first, second)]
    product = (centred[0] * centred[1]).mean(axis=(1, 2, 3))
    return product / np.maximum(centred[0].std(axis=(1, 2, 3)) * centred[1].std(axis=(1, 2, 3)), 1e-9)
