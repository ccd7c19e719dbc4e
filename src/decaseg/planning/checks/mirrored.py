"""Cases that look mirrored or turned against the others, and label maps that fit their image better when mirrored.

What is compared is the asymmetry: an image less its own mirror image, with that of the mean of the other cases. Only
where anatomy tells: nearly all cases must agree, or disagree, clearly and alike. A brain is too symmetric for left and
right (correlations of -0.3 to 0.3); for front and back, or in a crop round one hippocampus, they are 0.6 and more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from decaseg.planning.checks.problem import Problem
from decaseg.planning.checks.survey import Survey
from decaseg.planning.checks.thumbnails import Comparable, comparables

FEWEST = 5  # cases, to say what is usual
CLEAR = 0.3  # correlation of asymmetries, in the median of its size, from which on anatomy counts as telling
NEAR = 0.4  # of that median: closer to nothing, a case does not tell
SPREAD = 0.35  # and the sizes must be alike: median deviation, relative to the median
MOST = 0.85  # of all cases must tell
MAJORITY = 0.6  # of all cases must lie one way, so that the others are the odd ones
OPEN = 0.03  # difference of likeness below which two turns suit alike: brains do not tell left from right
LABEL_CLEAR = 0.05  # loss of the correlation of image and label by a turn, in the median
LABEL_MOST = 0.8  # of all cases must lose
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
    for place, odd in _odd_images(found).items():
        evidence = f"its asymmetry agrees with theirs to {odd.own:.2f}, theirs with each other's to {odd.usual:.2f}"
        fault = f"looks like the other cases {odd.words} ({evidence}; from -1 to 1)"
        fix = "compare it with another in decaseg view; if it is so, mend its affine, and its label's"
        yield Problem(found[place].case.image.file, fault, fix, "warning")
    labelled = [one for one in found if one.label is not None]
    if len(labelled) >= FEWEST:
        for place, (turn, own, other) in _odd_labels(labelled).items():
            header = labelled[place].case.label
            assert header is not None  # it has a thumbnail
            fault = f"fits its image better {WORDS[turn]} (correlation {other:.2f} so, {own:.2f} as stored)"
            fix = "look at both in decaseg view; if it is so, reverse its voxels or draw it anew"
            yield Problem(header.file, fault, fix, "warning")


@dataclass(frozen=True)
class Odd:
    """The turn that suits an odd case: how like the others it then is, how its asymmetry agrees, and theirs usually."""

    turn: Turn
    likeness: float
    own: float
    usual: float
    words: str = ""


def _odd_images(found: list[Comparable]) -> dict[int, Odd]:
    """By place. Where the same turn with left and right exchanged suits as well, the words say that it is open."""
    images = np.stack([one.image for one in found])
    means = images.sum(axis=0) - images  # of all the others, but for a factor
    suiting: dict[int, dict[Turn, Odd]] = {}
    for turn in WORDS:
        turned = _turned(images, turn)
        agreement = _correlations(images - turned, means - _turned(means, turn))
        likeness = _correlations(turned, means)
        usual = float(np.median(np.abs(agreement)))
        for place in _against_most(agreement):
            odd = Odd(turn, float(likeness[place]), float(agreement[place]), usual)
            suiting.setdefault(place, {})[turn] = odd
    return {place: _best(turns) for place, turns in sorted(suiting.items())}


def _best(turns: dict[Turn, Odd]) -> Odd:
    best = max(turns.values(), key=lambda odd: odd.likeness)
    partner = turns.get((-best.turn[0], *best.turn[1:]))
    if partner is None or best.likeness - partner.likeness > OPEN:
        return replace(best, words=WORDS[best.turn])
    plain = WORDS[1, best.turn[1], best.turn[2]]
    also = " (both: as when LPS is taken for RAS)" if best.turn[1:] == (-1, 1) else ""
    return replace(best, words=f"{plain}, perhaps left and right too{also}")


def _odd_labels(found: list[Comparable]) -> dict[int, tuple[Turn, float, float]]:
    """By how well the label map sets bright from dark; which of the two it marks is the same throughout a set."""
    images = np.stack([one.raw for one in found])
    labels = np.stack([one.label for one in found if one.label is not None])
    own = _correlations(images, labels)
    sign = 1.0 if np.median(own) >= 0 else -1.0
    best: dict[int, tuple[float, Turn, float]] = {}
    for turn in WORDS:
        other = _correlations(images, _turned(labels, turn))
        gains = sign * (other - own)
        usual = float(np.median(np.abs(gains)))
        if usual < LABEL_CLEAR or np.mean(gains < 0) < LABEL_MOST:
            continue
        for place in np.flatnonzero(gains > 0.7 * usual).tolist():
            if gains[place] > best.get(place, (0.0,))[0]:
                best[place] = float(gains[place]), turn, float(other[place])
    return {place: (best[place][1], float(own[place]), best[place][2]) for place in sorted(best)}


def _against_most(agreement: NDArray[np.float64]) -> list[int]:
    """The cases that disagree, where nearly all tell, alike, and most agree."""
    size = np.abs(agreement)
    usual = float(np.median(size))
    telling = size > NEAR * usual
    alike = float(np.median(np.abs(size - usual))) <= SPREAD * usual
    if usual < CLEAR or telling.mean() < MOST or not alike or np.mean(agreement > 0) < MAJORITY:
        return []
    return [int(place) for place in np.flatnonzero(agreement < -0.5 * usual)]


def _turned(cells: NDArray[np.float32], turn: Turn) -> NDArray[np.float32]:
    return cells[:, :: turn[0], :: turn[1], :: turn[2]]


def _correlations(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of each volume with the one at the same place."""
    centred = [cells - cells.mean(axis=(1, 2, 3), keepdims=True) for cells in (first, second)]
    product, *squares = (
        np.einsum("nxyz,nxyz->n", centred[i], centred[j], dtype=np.float64) for i, j in ((0, 1), (0, 0), (1, 1))
    )
    return product / np.maximum(np.sqrt(squares[0] * squares[1]), 1e-9)
