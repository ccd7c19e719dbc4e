"""Post-training quantisation to INT8 that is judged by the Dice of whole volumes, and falls back layer by layer.

NNCF quantises (Jacob et al. 2018: scales from the values seen on calibration windows); the search for what must stay in
floating point is ours (docs/decisions/0009). Needs no torch.
"""

from __future__ import annotations

import contextlib
import io
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decaseg.data.targets import Target
from decaseg.exporting.calibration import Calibration
from decaseg.exporting.fallback import Group, groups_of, layers_of, quantised_layers, revert
from decaseg.inference.engines import Engine
from decaseg.inference.restore import probabilities
from decaseg.storage import openvino_door
from decaseg.storage.files import replacing

MAX_DROP = 0.002
MAX_ROUNDS = 6  # whole cases are judged so often: all in INT8, then with 1, 2, 4, 8 and 16 groups of layers in float
MAX_MINUTES = 60.0  # for calibration, ranking and judging; between two steps the clock is looked at
RANKING_WINDOWS = 2
# Instance and group norm: what comes into them in INT8 costs accuracy and saves no time (benchmarks/int8).
FLOAT_TYPES = ("MVN", "GroupNormalization")

Open = Callable[[Path], Engine]  # runs an IR in the precision that the bundle will be used in
Judge = Callable[[Engine], float]  # the mean Dice of whole cases
Stage = Callable[[str], "contextlib.AbstractContextManager[Callable[[int, int], None]]"]


@dataclass(frozen=True)
class Round:
    """One model that was judged: those of its layers that compute in float, and its mean Dice on the judging cases."""

    layers: int
    float_layers: tuple[str, ...]
    mean_dice: float
    drop: float

    def __str__(self) -> str:
        before, int8 = self.mean_dice + self.drop, self.layers - len(self.float_layers)
        return f"{int8} of {self.layers} layers in INT8: mean Dice {before:.4f} -> {self.mean_dice:.4f}"


@dataclass(frozen=True)
class Tools:
    """What the search is handed: how models are opened and judged, and where progress is shown."""

    open_float: Open
    open_int8: Open
    judge: Judge
    stage: Stage
    target: Target
    on_round: Callable[[Round], None] = lambda one: None


@dataclass(frozen=True)
class Limits:
    """When INT8 is good enough, and when the search for it ends. `max_drop` is of mean Dice, absolute."""

    max_drop: float = MAX_DROP
    rounds: int = MAX_ROUNDS
    minutes: float = MAX_MINUTES

    def __post_init__(self) -> None:
        if not -1 <= self.max_drop <= 1:
            raise ValueError(f"--max-drop {self.max_drop:g}: is a difference of Dice; give 0 to 1, such as 0.002")
        if not self.minutes > 0:
            raise ValueError(f"--minutes {self.minutes:g}: must be above 0")


@dataclass(frozen=True)
class Quantised:
    """The search's answer. `met`: the last of `rounds` is within the limit and was written; else nothing was."""

    met: bool
    reason: str
    layers: int
    int8_layers: int
    mean_dice_float: float
    rounds: tuple[Round, ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class _OutOfTime(Exception):
    pass


def quantise(source: Path, out: Path, calibration: Calibration, tools: Tools, limits: Limits) -> Quantised:
    """Quantises the float IR `source` (model.xml) into `out` (model.xml, with model.bin beside it).

    First everything that NNCF would quantise. While the Dice drop is above the limit, the layers whose return to
    float brings the probabilities on a few windows nearest to the float network's fall back: 1, 2, 4 … groups.
    `out` is written when the limit is met, else left absent. Memory: the windows, and a few times the network's own.
    """
    openvino = openvino_door.import_openvino()

    started = time.monotonic()
    original = openvino.Core().read_model(str(source))
    model = _calibrated(original, calibration, tools)
    total, work = len(layers_of(original)), source.with_name("candidate.xml")
    reference = tools.judge(tools.open_float(source))
    rounds: list[Round] = []
    ranked: list[Group] | None = None

    def ended(reason: str, met: bool = False) -> Quantised:
        left = len(quantised_layers(model))
        return Quantised(met, reason, total, left, reference, tuple(rounds), round(time.monotonic() - started, 1))

    deadline = started + 60 * limits.minutes
    reverted = 0
    while True:
        openvino_door.save_model(model, work)
        dice = tools.judge(tools.open_int8(work))
        int8 = set(quantised_layers(model))
        kept = tuple(name for name in layers_of(model) if name not in int8)
        rounds.append(Round(total, kept, dice, reference - dice))
        tools.on_round(rounds[-1])
        if reference - dice <= limits.max_drop:
            _put(work, out)
            return ended(f"mean Dice within {limits.max_drop:g} of floating point", met=True)
        if len(rounds) == limits.rounds:
            return ended(f"mean Dice drops by more than {limits.max_drop:g} in all of {len(rounds)} rounds")
        try:
            if ranked is None:
                ranked = _ranked(model, original, source, calibration.windows[:RANKING_WINDOWS], tools, deadline)
            _in_time(deadline)
        except _OutOfTime:
            return ended(f"{limits.minutes:g} minutes were not enough; the smallest drop was {_smallest(rounds)}")
        wanted = 1 if not reverted else 2 * reverted
        for group in ranked[reverted:wanted]:
            revert(model, original, group)
        reverted = wanted
        if not quantised_layers(model):
            return ended(f"with any layer in INT8 mean Dice drops by more than {limits.max_drop:g}")


def import_nncf() -> Any:
    """The module, which takes seconds; ValueError where it or OpenVINO is not installed."""
    try:
        return openvino_door.import_nncf()
    except ImportError as error:
        raise ValueError(
            f"--precision int8: {error.name} is not installed; pip install 'decaseg[openvino]', which brings it"
        ) from None


def _calibrated(original: Any, calibration: Calibration, tools: Tools) -> Any:
    count, seen = len(calibration.windows), 0
    with tools.stage("calibrating") as advance:

        def shown(window: NDArray[np.float32]) -> NDArray[np.float32]:
            nonlocal seen
            seen += 1
            advance(min(seen, count), count)
            return window

        return quantised(original, calibration.windows, shown)


def quantised(
    original: Any, windows: Sequence[NDArray[np.float32]], shown: Callable[[NDArray], NDArray] = lambda window: window
) -> Any:
    """A copy of an OpenVINO model with everything quantised that NNCF would; `shown` is called with each window.

    Weights and values are quantised symmetrically, values that lie on one side of 0 from there on (NNCF's `mixed`).
    Norms stay in float (see FLOAT_TYPES). Biases are left as they are: NNCF's fast correction made labels differ more,
    not less (benchmarks/int8).
    """
    nncf = import_nncf()
    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):  # where NNCF writes its own progress bars
        return nncf.quantize(
            original,
            nncf.Dataset(list(windows), shown),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(windows),
            target_device=nncf.TargetDevice.CPU,
            ignored_scope=nncf.IgnoredScope(types=list(FLOAT_TYPES), validate=False),
            advanced_parameters=nncf.AdvancedQuantizationParameters(disable_bias_correction=True),
        )


def _ranked(
    model: Any,
    original: Any,
    source: Path,
    windows: Sequence[NDArray[np.float32]],
    tools: Tools,
    deadline: float,
) -> list[Group]:
    """All groups, first the one whose return to float helps most."""
    work = source.with_name("trial.xml")
    truth = _shares(tools.open_float(source), windows, tools.target)
    groups = groups_of(model)
    errors = []
    with tools.stage("ranking layers") as advance:
        for number, group in enumerate(groups, 1):
            _in_time(deadline)
            trial = model.clone()
            revert(trial, original, group)
            openvino_door.save_model(trial, work)
            found = _shares(tools.open_int8(work), windows, tools.target)
            errors.append(float(np.mean([np.abs(a - b).mean() for a, b in zip(found, truth, strict=True)])))
            advance(number, len(groups))
    return [groups[i] for i in np.argsort(errors, kind="stable")]


def _shares(engine: Engine, windows: Iterable[NDArray[np.float32]], target: Target) -> list[NDArray[np.float32]]:
    return [probabilities(engine(window)[0], target) for window in windows]


def _in_time(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise _OutOfTime


def _smallest(rounds: Sequence[Round]) -> str:
    return f"{min(r.drop for r in rounds):.4f}"


def _put(work: Path, out: Path) -> None:
    """Moves a candidate to its final place, model.xml last, since it makes the pair whole."""
    with replacing(out) as xml, replacing(out.with_suffix(".bin")) as weights:
        weights.write_bytes(work.with_suffix(".bin").read_bytes())
        xml.write_bytes(work.read_bytes())
