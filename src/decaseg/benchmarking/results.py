"""What was measured of each model, and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from decaseg.benchmarking.statistics import Ratio, Spread, times_as_fast

if TYPE_CHECKING:  # scores need scipy, which a machine that only predicts need not have
    from decaseg.metrics.summary import Statistic


@dataclass
class Timed:
    """The rounds of one model, in order; lists of different models belong together by their places.

    `windows_s` are the medians of the rounds' windows. `dice` is case -> structure -> Dice. `idle_cpu_s` are the
    processor seconds that the process took in `idle_s` seconds in which it was not its turn.
    """

    name: str
    path: str
    facts: Mapping[str, Any]
    windows_s: list[float] = field(default_factory=list)
    cases_s: list[float] = field(default_factory=list)
    network_s: list[float] = field(default_factory=list)
    windows_a_case: list[int] = field(default_factory=list)
    peak_gib: float = 0.0
    dice: dict[str, dict[str, float]] = field(default_factory=dict)
    idle_cpu_s: float = 0.0
    idle_s: float = 0.0
    layers: Sequence[Mapping[str, Any]] | None = None

    @property
    def computes(self) -> str:
        """The precision that decides its speed: int8 wherever weights are, else what the engine computes in."""
        return "int8" if self.facts["stored"] == "int8" else str(self.facts["precision"])


@dataclass(frozen=True)
class Result:
    """One row of the table. Seconds of a window and of a whole case; ratios and `dice_drop` are to the first model.

    `network_share` is the network's part of a whole case's time. `dice_drop` is the mean over cases of the first
    model's Dice less this one's, above 0 where this one is worse.
    """

    timed: Timed
    window_s: Spread
    case_s: Spread
    network_share: float
    window_ratio: Ratio
    case_ratio: Ratio
    dice: Statistic | None
    dice_structures: Mapping[str, float]
    dice_drop: Statistic | None

    @property
    def windows_per_s(self) -> float:
        return 1.0 / self.window_s.median

    def to_json(self) -> dict[str, Any]:
        timed, facts = self.timed, self.timed.facts
        return {
            "name": timed.name,
            "model": timed.path,
            "engine": facts["engine"],
            "precision": facts["precision"],
            "stored_precision": facts["stored"],
            "window": facts["window"],
            "warnings": list(facts["warnings"]),
            "window_s": self.window_s.to_json(),
            "windows_per_s": self.windows_per_s,
            "case_s": self.case_s.to_json(),
            "windows_per_case": sorted(set(timed.windows_a_case)),
            "network_share": self.network_share,
            "peak_gib": timed.peak_gib,
            "idle_cpu_share": timed.idle_cpu_s / timed.idle_s if timed.idle_s else 0.0,
            "times_as_fast_window": self.window_ratio.to_json(),
            "times_as_fast_case": self.case_ratio.to_json(),
            "dice": None if self.dice is None else self.dice.to_json() | {"structures": dict(self.dice_structures)},
            "dice_drop": None if self.dice_drop is None else self.dice_drop.to_json(),
            "rounds": {"window_s": timed.windows_s, "case_s": timed.cases_s, "network_s": timed.network_s},
            "dice_of_cases": timed.dice,
            "per_layer": timed.layers,
        }


def result_of(timed: Timed, first: Timed) -> Result:
    """What the rounds of a model come to, beside those of the first."""
    dice = dice_drop = None
    structures: dict[str, float] = {}
    if timed.dice:
        dice, dice_drop = _statistic(case_dice(timed)), difference(first, timed)
        names = next(iter(timed.dice.values()))
        structures = {name: float(np.mean([scores[name] for scores in timed.dice.values()])) for name in names}
    return Result(
        timed=timed,
        window_s=Spread.of(timed.windows_s),
        case_s=Spread.of(timed.cases_s),
        network_share=sum(timed.network_s) / sum(timed.cases_s),
        window_ratio=times_as_fast(first.windows_s, timed.windows_s),
        case_ratio=times_as_fast(first.cases_s, timed.cases_s),
        dice=dice,
        dice_structures=structures,
        dice_drop=dice_drop,
    )


def case_dice(timed: Timed) -> list[float]:
    """Each case's mean over structures, in the order of the cases."""
    return [float(np.mean(list(scores.values()))) for scores in timed.dice.values()]


def difference(one: Timed, other: Timed) -> Statistic:
    """Of one model's Dice less the other's, case by case."""
    return _statistic([a - b for a, b in zip(case_dice(one), case_dice(other), strict=True)])


def _statistic(values: Sequence[float]) -> Statistic:
    from decaseg.metrics.summary import Statistic, bootstrap_ci95

    array = np.asarray(values, np.float64)
    low, high = bootstrap_ci95(array[:, None])
    return Statistic.of(array, (float(low[0]), float(high[0])))
