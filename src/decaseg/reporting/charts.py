"""Draws with SVG whose colours come from the page's own style, so that charts follow dark, light and print.

Text that explains a mark is its `<title>`, which the page's script shows beside the pointer. A chart that a reader
cannot see says in its `aria-label` what it shows, and its numbers stand in a table of the page.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

import numpy as np

Points = Sequence[tuple[float, float]]
WIDTH, HEIGHT = 560, 320
NARROW = 470  # a chart whose diagonal means something is nearly square
LEFT, RIGHT, TOP, BOTTOM = 74, 18, 42, 54  # room for text that phones and paper show half as large again
MOST_POINTS = 600  # more than a line this wide can show
MOST_HITS = 120  # places along a line that answer to the pointer
COLOURS = 8


@dataclass(frozen=True)
class Axis:
    """From values to places along one axis of the picture; `log` for values above 0 only."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        at = math.log(max(value, self.low)) if self.log else value
        share = (at - low) / ((high - low) or 1.0)
        return round(self.start + share * (self.stop - self.start), 1)

    def ticks(self) -> list[float]:
        """About five round values within the axis."""
        if not self.log:
            return [t for t in round_ticks(self.low, self.high)[2] if self.low - 1e-9 <= t <= self.high + 1e-9]
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        for steps in ((1,), (1, 3), (1, 2, 5)):
            found = [m * 10.0**e for e in range(first, last + 1) for m in steps]
            found = [t for t in found if self.low <= t <= self.high]
            if len(found) >= 3:
                break
        return found if len(found) >= 2 else [self.low, self.high]


def x_axis(low: float, high: float, log: bool = False, stop: float = WIDTH - RIGHT) -> Axis:
    return Axis(low, high, LEFT, stop, log)


def y_axis(low: float, high: float, height: float = HEIGHT) -> Axis:
    return Axis(low, high, height - BOTTOM, TOP)


def line_chart(
    title: str, lines: Mapping[str, Points], x_name: str, y_name: str, unit: bool = False, whole: bool = False
) -> str:
    """Lines by name over a common x axis; `unit` keeps y within 0 to 1, `whole` begins it at 0.

    Empty lines give an empty string.
    """
    lines = {name: _thinned(points) for name, points in lines.items() if points}
    if not lines:
        return ""
    xs = [x for points in lines.values() for x, _ in points]
    ys = [y for points in lines.values() for _, y in points]
    low, high, _ = round_ticks(min(ys + [0.0] * whole), max(ys))
    if unit:
        low, high = max(0.0, low), min(1.0, high)
    x, y = x_axis(min(xs), max(xs)), y_axis(low, high)
    spoken = "; ".join(
        f"{name} from {number(points[0][1])} to {number(points[-1][1])}, {len(points)} points by {x_name}"
        for name, points in lines.items()
    )
    parts = [opened(title, spoken), y_scale(y, y_name), x_scale(x, x_name, whole_numbers=True)]
    parts += [_line(points, x, y, i) for i, points in enumerate(lines.values())]
    parts.append(_hits(lines, x, x_name))
    return "".join(parts) + "</svg>"


def _line(points: Points, x: Axis, y: Axis, position: int) -> str:
    path = " ".join(f"{x(a)},{y(b)}" for a, b in points)
    last = points[-1]
    return (
        f'<g class="series s{position % COLOURS}"><polyline points="{path}"/>'
        f'<circle cx="{x(last[0])}" cy="{y(last[1])}" r="3.6"/></g>'
    )


def _hits(lines: Mapping[str, Points], x: Axis, x_name: str) -> str:
    """Upright stripes that say every line's value at their place."""
    said: dict[float, list[str]] = {}
    for name, points in lines.items():
        for a, b in points:
            said.setdefault(a, []).append(f"{name}: {number(b)}" if len(lines) > 1 else number(b))
    places = sorted(said)
    if len(places) > MOST_HITS:
        places = [places[round(i)] for i in np.linspace(0, len(places) - 1, MOST_HITS)]
    edges = [x.start, *((x(a) + x(b)) / 2 for a, b in pairwise(places)), x.stop]
    parts = []
    for place, left, right in zip(places, edges, edges[1:], strict=False):
        words = escape(f"{x_name} {number(place)}\n" + "\n".join(said[place]))
        stripe = box("", left, TOP, right - left, HEIGHT - BOTTOM - TOP)
        upright = line("", x(place), TOP, x(place), HEIGHT - BOTTOM)
        parts.append(f'<g class="hit"><title>{words}</title>{stripe}{upright}</g>')
    return "".join(parts)


def opened(title: str, spoken: str, height: float = HEIGHT, width: float = WIDTH) -> str:
    """The picture's beginning, with what it shows in words."""
    words = escape(f"{title}: {spoken}")
    return f'<svg viewBox="0 0 {width} {height:g}" role="img" aria-label="{words}">'


def text(x: float, y: float, words: str, kind: str = "tick", anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def box(kind: str, x: float, y: float, width: float, height: float) -> str:
    """A rectangle, at least a unit wide and high, so that it can be seen."""
    size = f'width="{max(width, 1):.1f}" height="{max(height, 1):.1f}"'
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" {size}/>'


def y_scale(y: Axis, name: str, left: float = LEFT, right: float = WIDTH - RIGHT) -> str:
    """Lines across with their values at the left, and above them the axis' name."""
    parts = [text(4, 19, name, "axis")]
    for tick in y.ticks():
        parts.append(line("grid", left, y(tick), right, y(tick)))
        parts.append(text(left - 9, y(tick) + 5, number(tick), anchor="end"))
    return "".join(parts)


def x_scale(x: Axis, name: str, height: float = HEIGHT, whole_numbers: bool = False, lines: bool = False) -> str:
    """Values below the picture, and under them the axis' name; with `lines` also lines upwards."""
    base = height - BOTTOM
    parts = [line("base", x.start, base, x.stop, base)]
    for tick in x.ticks():
        if whole_numbers and tick != round(tick):
            continue
        if lines:
            parts.append(line("grid", x(tick), TOP, x(tick), base))
        near_the_end = x(tick) > x.stop - 16
        parts.append(text(x(tick) + (6 if near_the_end else 0), base + 21, number(tick),
                          anchor="end" if near_the_end else "middle"))  # fmt: skip
    parts.append(text((x.start + x.stop) / 2, height - 8, name, "axis", "middle"))
    return "".join(parts)


def dot(kind: str, case: str, x: float, y: float, words: str, r: float = 4.5) -> str:
    """A mark that stands for a case: the page opens it, and says the words."""
    return (
        f'<circle class="dot {kind}" data-case="{escape(case)}" cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}">'
        f"<title>{escape(words)}</title></circle>"
    )


def number(value: float) -> str:
    """A short number for axes.

    >>> number(0.30000000000000004), number(1500.0), number(0.0001), number(-0.5)
    ('0.3', '1500', '0.0001', '−0.5')
    """
    short = f"{value:.0f}" if abs(value) >= 1000 and value == round(value) else f"{value:.4g}"
    return short.replace("-", "−") if not short.startswith("-0") or float(short) else short.lstrip("-")


def _thinned(points: Points) -> Points:
    if len(points) <= MOST_POINTS:
        return points
    return [points[round(i)] for i in np.linspace(0, len(points) - 1, MOST_POINTS)]


def round_ticks(low: float, high: float) -> tuple[float, float, list[float]]:
    """A range a little rounder than low to high, and about five round values in it."""
    if high <= low:
        pad = abs(low) * 0.1 or 0.5
        low, high = low - pad, high + pad
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return first * step, last * step, [round(i * step, 12) for i in range(first, last + 1)]
