"""The windows that quantisation measures the network's values on: a RUN's own training cases, cut as predicted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from decaseg.geometry import Int3, int3
from decaseg.inference.windows import Windows, slabs

See = Callable[[int, NDArray[np.float32]], None]
MAX_WINDOWS = 24
MAX_BYTES = 1 << 30  # of windows held in memory; large ones with many channels are fewer
FOREGROUND_SHARE = 2 / 3  # of the windows: structures fill few windows, and their values are the ones that matter


@dataclass(frozen=True, eq=False)
class CalibrationCase:
    """A training case as the network sees it: image (C, X, Y, Z), foreground and present voxels (X, Y, Z).

    `present` is where the predictor finds anything to compute (see `inference.empty`).
    """

    case: str
    image: NDArray[np.float32]
    foreground: NDArray[np.bool_]
    present: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Calibration:
    """Windows (1, C, *window) float32, the cases they come from, and how many hold foreground.

    Sorted: those with the most foreground come first.
    """

    windows: tuple[NDArray[np.float32], ...]
    cases: tuple[str, ...]
    with_foreground: int


def windows_wanted(channels: int, window: Int3) -> int:
    """How many windows are taken: 24, fewer where those would fill more than 1 GiB, at least 4.

    >>> windows_wanted(1, (144, 144, 144)), windows_wanted(4, (192, 192, 160))
    (24, 11)
    """
    size = 4 * channels * int(np.prod(window))
    return max(4, min(MAX_WINDOWS, MAX_BYTES // size))


def draw_windows(cases: Iterable[CalibrationCase], expected: int, window: Int3, step: float, seed: int) -> Calibration:
    """Draws windows of `cases`, of which `expected` come, one at a time: evenly from all, cut as the predictor does.

    Two thirds of a case's windows are drawn among those that hold foreground, by how much of it they hold, the others
    among the rest. A case with fewer windows gives what it has. Equal seeds draw equal windows. ValueError where no
    window holds anything.
    """
    kept: list[tuple[int, NDArray[np.float32]]] = []
    names = []
    for number, case in enumerate(cases):
        total = windows_wanted(case.image.shape[0], window)
        quota = total * (number + 1) // expected - total * number // expected  # 24 over 5 cases: 4, 5, 5, 5, 5
        counts = _counts(case, window, step)
        chosen = _draw(counts, quota, np.random.default_rng([seed, 3, number]))
        kept += _windows(case, window, step, {index: counts[index] for index in chosen})
        names += [case.case] if chosen else []
    if not kept:
        raise ValueError("--precision int8: the training cases hold nothing to calibrate on; check the data set")
    kept.sort(key=lambda one: -one[0])
    return Calibration(tuple(w for _, w in kept), tuple(names), sum(held > 0 for held, _ in kept))


def _counts(case: CalibrationCase, window: Int3, step: float) -> list[int]:
    """The foreground voxels of each window."""
    counts: list[int] = []
    _visit(case, case.image[:0], window, step, lambda _, cut: counts.append(int(cut[0, -1].sum())))
    return counts


def _windows(
    case: CalibrationCase, window: Int3, step: float, chosen: Mapping[int, int]
) -> list[tuple[int, NDArray[np.float32]]]:
    """The windows whose numbers were chosen, each with the count that stands beside its number."""
    found: list[tuple[int, NDArray[np.float32]]] = []

    def keep(index: int, cut: NDArray[np.float32]) -> None:
        if index in chosen:
            found.append((chosen[index], np.ascontiguousarray(cut[:, :-1])))

    _visit(case, case.image, window, step, keep)
    return found


def _visit(case: CalibrationCase, image: NDArray[np.float32], window: Int3, step: float, see: See) -> None:
    """Shows `see` every window (1, C + 1, *window) of the image with its foreground as one more channel.

    `slabs` itself cuts them, so that padding, places and windows left out as empty are those of prediction.
    """
    number = count()
    nowhere = np.zeros((1, 1, *window), np.float32)

    def infer(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        see(next(number), windows)
        return nowhere

    stacked = np.concatenate([image, case.foreground[None].astype(np.float32)])
    places = Windows.over(int3(stacked.shape[1:]), window, step)
    for _ in slabs(stacked, places, infer, present=case.present, nothing=[0.0]):
        pass


def _draw(counts: list[int], quota: int, rng: np.random.Generator) -> set[int]:
    """Places of `quota` windows among those with `counts` foreground voxels."""
    holding = [i for i, held in enumerate(counts) if held]
    quota = min(quota, len(counts))
    weights = np.array([counts[i] for i in holding], float)
    first = min(round(quota * FOREGROUND_SHARE), len(holding))
    chosen = set(rng.choice(holding, first, replace=False, p=weights / weights.sum()).tolist()) if first else set()
    rest = [i for i in range(len(counts)) if i not in chosen]
    return chosen | set(rng.choice(rest, quota - first, replace=False).tolist() if rest else [])
