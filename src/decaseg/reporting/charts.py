"""Draws the page's charts as SVG whose colours come from the page's own style, so they follow dark and light."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

Points = Sequence[tuple[float, float]]
WIDTH, HEIGHT = 420, 250
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 14, 42
MOST_POINTS = 600  # more than a line this wide can show


@dataclass(frozen=True)
class Axis:
    """From values to places along one axis of the picture."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return round(self.start + share * (self.stop - self.start), 1)


def line_chart(title: str, lines: Mapping[str, Points], x_name: str, unit: bool = False) -> str:
    """Lines by name over a common x axis; `unit` keeps y within 0 to 1.

    Every end point carries its value for readers who cannot see the lines; empty lines give an empty string.
    """
    lines = {name: _thinned(points) for name, points in lines.items() if points}
    if not lines:
        return ""
    xs = [x for points in lines.values() for x, _ in points]
    ys = [y for points in lines.values() for _, y in points]
    low, high, ticks = _ticks(min(ys), max(ys))
    if unit:
        low, high = max(0.0, low), min(1.0, high)
    x = Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT)
    y = Axis(low, high, HEIGHT - BOTTOM, TOP)
    parts = [_frame(title, _spoken(lines, x_name))]
    for tick in ticks:
        if low <= tick <= high:
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick)}" y2="{y(tick)}"/>')
            parts.append(f'<text class="tick" x="{LEFT - 7}" y="{y(tick) + 4}" text-anchor="end">{number(tick)}</text>')
    for tick in _ticks(min(xs), max(xs))[2]:
        if min(xs) <= tick <= max(xs) and tick == round(tick):
            anchor = "end" if x(tick) > WIDTH - RIGHT - 14 else "middle"
            place = f'x="{x(tick)}" y="{HEIGHT - 20}" text-anchor="{anchor}"'
            parts.append(f'<text class="tick" {place}>{number(tick)}</text>')
    parts.append(f'<text class="tick" x="{WIDTH - RIGHT}" y="{HEIGHT - 4}" text-anchor="end">{escape(x_name)}</text>')
    for i, (name, points) in enumerate(lines.items()):
        parts.append(_line(name, points, x, y, i))
    return "".join(parts) + "</svg>"


def _line(name: str, points: Points, x: Axis, y: Axis, position: int) -> str:
    path = " ".join(f"{x(a)},{y(b)}" for a, b in points)
    last = points[-1]
    words = escape(f"{name}: {number(last[1])}")
    return (
        f'<g class="series s{position % 8}"><title>{words}</title><polyline points="{path}"/>'
        f'<circle cx="{x(last[0])}" cy="{y(last[1])}" r="3.2"/></g>'
    )


def strip_plot(title: str, values: Mapping[str, float], mean: float | None, ci95: Sequence[float] | None,
               low: float, high: float = 1.0) -> str:  # fmt: skip
    """One dot a case, pushed apart where they would overlap; below them the mean and its 95 % interval.

    Dots carry `data-case`, so that the page can open the case that one stands for.
    """
    height, middle, base = 132, 50, 100
    x = Axis(low, high, 20, WIDTH - 20)
    spoken = f"{len(values)} cases from {number(min(values.values()))} to {number(max(values.values()))}"
    parts = [_frame(title, spoken, height)]
    for tick in _ticks(low, high)[2]:
        parts.append(f'<line class="grid" x1="{x(tick)}" x2="{x(tick)}" y1="6" y2="{base + 10}"/>')
        parts.append(f'<text class="tick" x="{x(tick)}" y="{base + 27}" text-anchor="middle">{number(tick)}</text>')
    for case, place, rise in _swarm({case: x(min(max(v, low), high)) for case, v in values.items()}):
        words = escape(f"{case}: {values[case]:.3f}")
        parts.append(
            f'<circle class="dot" data-case="{escape(case)}" cx="{place}" cy="{middle + rise:.1f}" r="4">'
            f"<title>{words}</title></circle>"
        )
    if ci95 is not None:
        parts.append(f'<line class="interval" x1="{x(ci95[0])}" x2="{x(ci95[1])}" y1="{base}" y2="{base}"/>')
    if mean is not None:
        parts.append(f'<path class="mean" d="M{x(mean)} {base - 7}l6 7l-6 7l-6-7z"/>')
    return "".join(parts) + "</svg>"


def _swarm(places: Mapping[str, float], gap: float = 8.6, reach: float = 40.0) -> list[tuple[str, float, float]]:
    """Each dot at its place, as near to the middle as it fits; squeezed together where the height runs out."""
    put: list[tuple[str, float, float]] = []
    for case, place in sorted(places.items(), key=lambda item: item[1]):
        near = [(p, r) for _, p, r in put if place - p < gap]
        steps = [0.0] + [sign * step * 2.15 for step in range(1, int(reach / 2.15)) for sign in (1, -1)]
        free = (s for s in steps if all((place - p) ** 2 + (s - r) ** 2 >= 0.99 * gap**2 for p, r in near))
        put.append((case, place, next(free, steps[len(put) % len(steps)])))
    return put


def number(value: float) -> str:
    """A short number for axes.

    >>> number(0.30000000000000004), number(1500.0), number(0.0001)
    ('0.3', '1500', '0.0001')
    """
    return f"{value:.0f}" if abs(value) >= 1000 and value == round(value) else f"{value:.4g}"


def _frame(title: str, spoken: str, height: int = HEIGHT) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(f"{title}: {spoken}")}">'


def _spoken(lines: Mapping[str, Points], x_name: str) -> str:
    return "; ".join(
        f"{name} from {number(points[0][1])} to {number(points[-1][1])} over {len(points)} points by {x_name}"
        for name, points in lines.items()
    )


def _thinned(points: Points) -> Points:
    if len(points) <= MOST_POINTS:
        return points
    return [points[round(i)] for i in np.linspace(0, len(points) - 1, MOST_POINTS)]


def _ticks(low: float, high: float) -> tuple[float, float, list[float]]:
    """A range a little rounder than low to high, and about five round values in it."""
    if high <= low:
        pad = abs(low) * 0.1 or 0.5
        low, high = low - pad, high + pad
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first, last = math.floor(low / step), math.ceil(high / step)
    return first * step, last * step, [round(i * step, 12) for i in range(first, last + 1)]
