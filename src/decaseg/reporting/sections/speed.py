"""Dice against time, of what `decaseg benchmark --out` recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from decaseg.reporting.charts import (
    Axis,
    line,
    number,
    opened,
    round_ticks,
    text,
    x_axis,
    x_scale,
    y_axis,
    y_scale,
)
from decaseg.reporting.material import is_number
from decaseg.reporting.words import shortened, signed

LEAST_REACH = 0.004  # of the Dice axis to either side, so that nothing looks large that is not
ENGINES = ("torch", "plain torch", "openvino", "onnx")  # each with a marker of its own


@dataclass(frozen=True)
class Model:
    """One row of benchmark.json; `drop_ci95` is of the first model's Dice less this one's, case by case."""

    name: str
    engine: str
    precision: str
    seconds: float
    quartiles: tuple[float, float]
    peak_gib: float | None
    dice: float | None
    dice_ci95: tuple[float, float] | None
    drop: float | None
    drop_ci95: tuple[float, float] | None
    times_as_fast: float | None


def models_of(benchmark: Mapping[str, Any]) -> list[Model]:
    """The models of a benchmark.json; those without a time are left out."""
    found = []
    rows = benchmark.get("models")
    for row in rows if isinstance(rows, list) else []:
        case = row.get("case_s") if isinstance(row, Mapping) else None
        if not isinstance(case, Mapping) or not is_number(case.get("median")) or case["median"] <= 0:
            continue
        dice, drop, faster = ({} if not isinstance(row.get(k), Mapping) else row[k]
                              for k in ("dice", "dice_drop", "times_as_fast_case"))  # fmt: skip
        stored = row.get("stored_precision")
        found.append(Model(
            name=str(row.get("name", "model")),
            engine=str(row.get("engine", "")),
            precision="int8" if stored == "int8" else str(row.get("precision", "")),
            seconds=float(case["median"]),
            quartiles=_pair(case.get("quartiles")) or (float(case["median"]), float(case["median"])),
            peak_gib=_number(row.get("peak_gib")),
            dice=_number(dice.get("mean")),
            dice_ci95=_pair(dice.get("ci95")),
            drop=_number(drop.get("mean")),
            drop_ci95=_pair(drop.get("ci95")),
            times_as_fast=_number(faster.get("median")),
        ))  # fmt: skip
    return found


def _number(value: Any) -> float | None:
    return float(value) if is_number(value) else None


def _pair(value: Any) -> tuple[float, float] | None:
    if isinstance(value, list | tuple) and len(value) == 2 and all(is_number(v) for v in value):
        return float(value[0]), float(value[1])
    return None


def speed_chart(models: Sequence[Model]) -> str:
    """Mean Dice against seconds a case (log); an empty string unless two models have both.

    Bars across: the middle half of the times; upwards: the interval of the difference from the first model.
    """
    drawn = [m for m in models if m.dice is not None]
    if len(drawn) < 2 or drawn[0] is not models[0]:
        return ""
    first = drawn[0].dice or 0.0
    ends = [first - LEAST_REACH, first + LEAST_REACH, *(m.dice for m in drawn if m.dice is not None)]
    ends += [first - end for m in drawn if m.drop_ci95 for end in m.drop_ci95]
    low, high, _ = round_ticks(min(ends), max(ends))
    times = [t for m in drawn for t in (m.seconds, *m.quartiles) if t > 0]
    x, y = x_axis(min(times) / 1.3, max(times) * 1.6, log=True), y_axis(low, high)
    spoken = "; ".join(f"{m.name}: {number(m.seconds)} s, Dice {m.dice:.4f}" for m in drawn)
    parts = [
        opened("Mean Dice against seconds a case", spoken),
        y_scale(y, "Mean Dice"),
        x_scale(x, "Seconds a case (log scale)"),
    ]
    parts.append(line("zero", x.start, y(first), x.stop, y(first)))
    taken: list[tuple[float, float]] = []
    for place, m in enumerate(drawn):
        parts.append(_model(m, first, x, y, place, taken))
    return "".join(parts) + "</svg>"


def _model(m: Model, first: float, x: Axis, y: Axis, place: int, taken: list[tuple[float, float]]) -> str:
    assert m.dice is not None
    at, up = x(m.seconds), y(m.dice)
    words = f"{m.name}\n{m.engine} {m.precision}: {number(m.seconds)} s a case, mean Dice {m.dice:.4f}"
    if m.drop is not None and place:
        words += f"\ndifference from the first {signed(-m.drop)}"
    parts = [f'<g class="c{place % 8}"><title>{escape(words)}</title>']
    parts.append(line("whisker", x(m.quartiles[0]), up, x(m.quartiles[1]), up))
    if m.drop_ci95 is not None:
        parts.append(line("whisker", at, y(first - m.drop_ci95[0]), at, y(first - m.drop_ci95[1])))
    parts.append(_marker(m.engine, at, up))
    row = up - 12
    while any(abs(row - r) < 15 and abs(at - a) < 150 for a, r in taken):
        row -= 15
    taken.append((at, row))
    right = at > (x.start + x.stop) / 2
    parts.append(text(at + (-9 if right else 9), row, shortened(m.name, 28), "label", "end" if right else "start"))
    return "".join(parts) + "</g>"


def _marker(engine: str, x: float, y: float) -> str:
    """A shape an engine, so that colour is never alone."""
    shapes = {
        "openvino": f"M{x} {y - 7}l7 7l-7 7l-7-7z",
        "onnx": f"M{x} {y - 7}l7 12h-14z",
        "plain torch": f"M{x - 6} {y - 6}h12v12h-12z",
    }
    if engine in shapes:
        return f'<path class="mark" d="{shapes[engine]}"/>'
    return f'<circle class="mark" cx="{x}" cy="{y}" r="6"/>'
