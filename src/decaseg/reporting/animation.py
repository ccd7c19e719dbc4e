"""Writes one case as a GIF that scrolls through its axial slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from decaseg.geometry import Box, bounding_box
from decaseg.reporting.extras import need
from decaseg.reporting.look import Colour, Look
from decaseg.reporting.motion import drawn, write_all
from decaseg.reporting.overlay import Layers, blank, draw_legend, known_labels, lay, letter_edges, scale_bar
from decaseg.reporting.paint import GROUND, INK, QUIET, Coat, shortened, write_words
from decaseg.reporting.planes import AXIAL, body_box, make_scene
from decaseg.volume import Volume

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_BYTES = 3_000_000
MOST_FRAMES = 56
FRAME_MS, PAUSE_MS = 90, 900
SIDE = 480  # pixels of the slice's longer edge
TRACK: Colour = (40, 46, 58)
GREYS, SHADES = 56, 16  # fixed colours, so that nothing flickers; more greys show less banding and cost bytes


def draw_animation(
    path: Path,
    image: Volume,
    prediction: Volume,
    truth: Volume | None,
    names: Mapping[int, str],
    caption: str,
    channel: int = 0,
    look: Look | None = None,
) -> None:
    """Writes a GIF of one case, and the other kinds that `look` wants beside it; arguments as in `draw_overlay`."""
    look = look or Look(animations=("gif",))
    layers = lay(make_scene(image, prediction, truth, known_labels(names), channel), names, look)
    draw_scrolling(path.with_name(path.name.removesuffix(".gif")), layers, caption, look.animations)


def draw_scrolling(stem: Path, layers: Layers, caption: str, kinds: Sequence[str] = ("gif",)) -> None:
    """Writes `stem`.gif, .webp or .mp4, below 3 MB, that scroll from foot to head and pause at both ends.

    A GIF that does not fit is drawn smaller. Slices beyond MOST_FRAMES are skipped evenly.
    """
    layers = layers.cropped(_scrolled(layers))
    if layers.traced is None:
        # Outlines a structure are too much for a moving picture of this size, beside filled areas.
        layers = replace(layers, outlined=None, coat=Coat(layers.coat.colours), legend=layers.areas)
    frames = _frames(layers, caption, SIDE)
    times = [FRAME_MS] * len(frames)
    times[0], times[-1] = PAUSE_MS // 2, PAUSE_MS
    write_all(stem, frames, times, kinds, MAX_BYTES, _palette(layers.coat))


def _scrolled(layers: Layers) -> Box:
    """The body in the plane; along the body, the structures and an eighth more at both ends."""
    body = body_box(layers.scene)
    found = bounding_box(layers.scene.found)
    if found is None:
        return body
    more = max(2, found.shape[2] // 8)
    low, high = max(body.start[2], found.start[2] - more), min(body.stop[2], found.stop[2] + more)
    return Box((body.start[0], body.start[1], low), (body.stop[0], body.stop[1], high))


def _frames(layers: Layers, caption: str, side: int) -> list[Image]:
    scene = layers.scene
    extent = [n * s for n, s in zip(scene.shape, scene.spacing_mm, strict=True)]
    scale = side / max(extent[0], extent[1])
    size = (max(1, round(extent[0] * scale)), max(1, round(extent[1] * scale)))
    width = max(size[0], 280)
    backdrop, draw = blank(width, size[1] + 200)
    title, _, small = caption.strip().partition("\n")
    write_words(draw, (14, 32), shortened(draw, title, 22, width - 28), 22)
    y = 32
    if small:
        y += 22
        write_words(draw, (14, y), shortened(draw, small, 14, width - 28), 14, QUIET)
        y += 2
    top = draw_legend(draw, layers.legend, (14, y + 26), width - 28, 13) + 14
    bar = top + size[1] + 12
    draw.rectangle((0, top, width, top + size[1]), fill=(0, 0, 0))
    backdrop = backdrop.crop((0, 0, width, bar + 14))
    count = scene.shape[2]
    shown = sorted({round(float(i)) for i in np.linspace(0, count - 1, min(count, MOST_FRAMES))})
    return drawn(lambda index: _frame(layers, index, backdrop, (size, scale), (top, bar)), shown)


def _frame(
    layers: Layers, index: int, backdrop: Image, size_scale: tuple[tuple[int, int], float], rows: tuple[int, int]
) -> Image:
    (size, scale), (top, bar) = size_scale, rows
    scene = layers.scene
    frame = backdrop.copy()
    draw = need("PIL.ImageDraw").Draw(frame)
    frame.paste(layers.picture(AXIAL, index, size, rim_px=1.25), ((frame.width - size[0]) // 2, top))
    letter_edges(draw, AXIAL, (0, top, frame.width, top + size[1]), 18)
    write_words(draw, (14, top + 22), f"z {scene.position_mm(2, index):.0f} mm", 14, INK, halo=True)
    scale_bar(draw, (14, top + size[1] - 10), scale, scene.shape[0] * scene.spacing_mm[0], 13)
    reach = 14 + (frame.width - 28) * (index + 1) / scene.shape[2]
    draw.rectangle((14, bar, frame.width - 14, bar + 3), fill=TRACK)
    draw.rectangle((14, bar, reach, bar + 3), fill=INK)
    return frame


def _palette(coat: Coat) -> Image:
    """Greys, and each class colour over darker and brighter grey as `paint_slice` mixes them."""
    colours: list[Colour] = [GROUND, INK, QUIET, TRACK]
    colours += [(g, g, g) for g in (round(i * 255 / (GREYS - 1)) for i in range(GREYS))]
    colours += [*coat.outlines.values(), *coat.traces.values()]
    for colour in list(coat.colours.values())[: (256 - len(colours)) // (SHADES + 1)]:
        colours.append(colour)
        for i in range(SHADES):
            grey = coat.dimmed * 255 * i / (SHADES - 1)
            r, g, b = (round(coat.fill * part + (1 - coat.fill) * grey) for part in colour)
            colours.append((r, g, b))
    palette = need("PIL.Image").new("P", (1, 1))
    palette.putpalette([part for colour in colours for part in colour])
    return palette
