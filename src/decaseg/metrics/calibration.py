"""Whether probabilities mean what they say: of the voxels given 70 %, do 70 % belong to the structure?

A histogram a case and structure is kept, never the probabilities: 20 bins of equal width, each with how many voxels,
the sum of their probabilities, and how many of them are true (a reliability diagram, Niculescu-Mizil and Caruana 2005).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 20


@dataclass(frozen=True, eq=False)
class Reliability:
    """Per bin of probability, each (BINS,): voxels, the sum of their probabilities, and those that are true.

    The first bin, below 5 %, is mostly background far from anything; `error` leaves it out, `overlooked` is about it.
    """

    voxels: NDArray[np.int64]
    probability: NDArray[np.float64]
    true: NDArray[np.int64]

    @classmethod
    def none(cls) -> Reliability:
        return cls(np.zeros(BINS, np.int64), np.zeros(BINS), np.zeros(BINS, np.int64))

    @classmethod
    def of(cls, probability: NDArray, truth: NDArray) -> Reliability:
        """Of probabilities 0 to 1 and a true mask of the same shape.

        >>> found = Reliability.of(np.array([0.02, 0.72, 0.74, 1.0]), np.array([False, True, False, True]))
        >>> found.voxels[[0, 14, 19]].tolist(), found.true[[0, 14, 19]].tolist()
        ([1, 2, 1], [0, 1, 1])
        """
        above = probability >= 1 / BINS  # most voxels are not: they are counted without being sorted into bins
        likely, right = probability[above].astype(np.float64), truth[above].astype(bool)
        bins = np.minimum((likely * BINS).astype(np.intp), BINS - 1)
        voxels = np.bincount(bins, minlength=BINS).astype(np.int64)
        sums = np.bincount(bins, likely, minlength=BINS)
        true = np.bincount(bins[right], minlength=BINS).astype(np.int64)
        voxels[0] += probability.size - likely.size
        sums[0] += float(probability.sum(dtype=np.float64)) - float(likely.sum())
        true[0] += int(np.count_nonzero(truth)) - int(np.count_nonzero(right))
        return cls(voxels, np.maximum(sums, 0.0), true)

    def __add__(self, other: Reliability) -> Reliability:
        return Reliability(self.voxels + other.voxels, self.probability + other.probability, self.true + other.true)

    @property
    def error(self) -> float | None:
        """Expected calibration error of the voxels given 5 % or more; None where there is none.

        sum over bins of |sum of probabilities - true voxels| / voxels (Naeini et al. 2015).
        """
        total = int(self.voxels[1:].sum())
        return float(np.abs(self.probability - self.true)[1:].sum() / total) if total else None

    @property
    def excess(self) -> float | None:
        """Mean probability less the share that is true, of the voxels given 5 % or more: above 0 is overconfident."""
        total = int(self.voxels[1:].sum())
        return float((self.probability - self.true)[1:].sum() / total) if total else None

    @property
    def overlooked(self) -> float | None:
        """Share of the structure's voxels that were given less than 5 %; None where it has no voxels."""
        total = int(self.true.sum())
        return float(self.true[0] / total) if total else None

    def to_json(self) -> list[list[float]]:
        """Rows of bin, voxels, sum of probabilities and true voxels; empty bins are left out."""
        rows = zip(range(BINS), self.voxels.tolist(), self.probability.tolist(), self.true.tolist(), strict=True)
        return [[b, n, round(p, 4), t] for b, n, p, t in rows if n]

    @classmethod
    def from_json(cls, rows: Any) -> Reliability:
        """ValueError where `rows` are not what `to_json` gives."""
        found = cls.none()
        try:
            for row in rows:
                b, n, p, t = row
                if not (isinstance(b, int) and 0 <= b < BINS and 0 <= t <= n < 2**53 and 0 <= p <= n * (1 + 1e-6)):
                    raise ValueError
                found.voxels[b], found.probability[b], found.true[b] = n, p, t
        except (TypeError, ValueError):
            raise ValueError("holds a histogram that decaseg did not write; evaluate again") from None
        return found


def pooled(parts: Sequence[Reliability]) -> Reliability:
    """All voxels of several cases together."""
    total = Reliability.none()
    for part in parts:
        total = total + part
    return total
