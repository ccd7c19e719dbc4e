"""From rounds to numbers: medians and quartiles, and how many times as fast one model is as another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

RESAMPLES = 10_000


@dataclass(frozen=True)
class Spread:
    """The median of `n` values and their quartiles (25th and 75th percentile)."""

    median: float
    quartiles: tuple[float, float]
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of one value or more.

        >>> Spread.of([1.0, 2.0, 3.0, 4.0, 100.0])
        Spread(median=3.0, quartiles=(2.0, 4.0), n=5)
        """
        low, middle, high = np.percentile(np.asarray(values, np.float64), [25, 50, 75])
        return cls(float(middle), (float(low), float(high)), len(values))

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"quartiles": list(self.quartiles)}


@dataclass(frozen=True)
class Ratio:
    """The median of `n` quotients and the 95 % interval of that median; no interval for a single one."""

    median: float
    ci95: tuple[float, float] | None
    n: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"ci95": None if self.ci95 is None else list(self.ci95)}


def times_as_fast(reference_s: Sequence[float], other_s: Sequence[float], seed: int = 0) -> Ratio:
    """How many times as fast the other is as the reference, from seconds of the same rounds.

    Each round's quotient is taken first, since what disturbs a machine lasts longer than a turn and disturbs both.
    The interval is the percentile bootstrap's (Efron 1979) over rounds.

    >>> times_as_fast([2.0, 4.0, 2.2], [1.0, 2.0, 1.1])
    Ratio(median=2.0, ci95=(2.0, 2.0), n=3)
    """
    quotients = np.asarray(reference_s, np.float64) / np.asarray(other_s, np.float64)
    n = len(quotients)
    if n < 2:
        return Ratio(float(np.median(quotients)), None, n)
    drawn = np.random.default_rng(seed).integers(0, n, size=(RESAMPLES, n))
    low, high = np.percentile(np.median(quotients[drawn], axis=1), [2.5, 97.5])
    return Ratio(float(np.median(quotients)), (float(low), float(high)), n)
