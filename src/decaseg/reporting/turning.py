"""Draws one case as a turning body: what is right, wrong and missed inside a brain of glass, on a marked floor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import cos, pi, radians, sin
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from decaseg.geometry import bounding_box
from decaseg.reporting.extras import need
from decaseg.reporting.glass import SHELL, Piece, finer, fit_camera, render
from decaseg.reporting.look import RIGHT, Colour
from decaseg.reporting.motion import drawn, write_all
from decaseg.reporting.overlay import Layers, Legend, blank, draw_legend, scale_bar
from decaseg.reporting.paint import GROUND, INK, QUIET, shortened, write_words
from decaseg.reporting.planes import AXIAL, Scene, body_box, cut
from decaseg.reporting.raster import Camera
from decaseg.reporting.surface import Body, Surface, find_body, label_surfaces, verdict_surfaces

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

FRAMES, FRAME_MS = 48, 80
MAX_BYTES = 6_000_000
START_DEG = 30.0
SIDE, PAIR_SIDE = 560, 450
RING: Colour = (62, 74, 94)


@dataclass(frozen=True, eq=False)
class Floor:
    """What lies under the model: a ring with the patient's directions, or an axial slice (rows, columns) of a crop."""

    height_mm: float
    middle_mm: tuple[float, float]
    half_mm: tuple[float, float]
    slice_grey: NDArray[np.float32] | None

    def edge(self, angle: float, out: float = 1.0) -> tuple[float, float, float]:
        """The place on the ring, or on the ellipse in the slice, at an angle from the patient's right."""
        x, y = self.middle_mm
        a, b = self.half_mm
        return x + out * a * cos(angle), y + out * b * sin(angle), self.height_mm


def draw_turning(
    stem: Path, layers: Layers, caption: str, kinds: Sequence[str] = ("gif", "webp"), frames: int | None = None
) -> None:
    """Writes `stem`_3d.gif, .webp or .mp4, each below 6 MB, of one turn round the case."""
    pictures = turning_frames(layers, caption, frames)
    write_all(stem.with_name(f"{stem.name}_3d"), pictures, [FRAME_MS] * len(pictures), kinds, MAX_BYTES)


def turning_frames(layers: Layers, caption: str, frames: int | None = None) -> list[Image]:
    """The pictures of one turn, the first a little to the left of the patient's face, going round to their left.

    One panel shows right, wrong and missed; several structures get a second one with each in its own colour.
    """
    layers = layers.cropped(body_box(layers.scene))
    body = find_body(layers.scene)
    panels = _panels(layers)
    pieces = [pieces for _, pieces in panels]
    shell = None if body.surface is None else Piece(body.surface, SHELL, *_glassiness(body))
    floor = _floor_of(layers.scene, body)
    side = SIDE if len(panels) == 1 else PAIR_SIDE
    seen = fit_camera(_reach(body, floor, [piece.surface for part in pieces for piece in part]), (side, side - 20))
    backdrop, top = _backdrop(layers, caption, [title for title, _ in panels], seen)

    count = frames or FRAMES

    def frame(number: int) -> Image:
        turned = replace(seen, azimuth_deg=START_DEG + 360.0 * number / count)
        picture = backdrop.copy()
        for k, panel in enumerate(_pictures(pieces, shell, turned, floor)):
            picture.paste(panel, (k * seen.width, top))
        draw = need("PIL.ImageDraw").Draw(picture)
        scale_bar(draw, (16, picture.height - 16), seen.scale, seen.width / seen.scale / 2, 15)
        return picture

    return drawn(frame, range(count))


def _panels(layers: Layers) -> list[tuple[str, list[Piece]]]:
    scene, labels = layers.scene, tuple(layers.hues)
    several = len(labels) > 1
    if scene.truth is None:
        return [("", _structures(label_surfaces(scene, scene.prediction), layers))]
    verdicts = layers.coat.colours
    # What is right is solid, errors are glass over it; with several structures, errors lie inside too.
    cover = {RIGHT: (0.62, 0.95) if several else (1.0, 1.0)}
    found = verdict_surfaces(scene, labels)
    pieces = [Piece(surface, verdicts[v], *cover.get(v, (0.6, 0.95))) for v, surface in found.items()]
    if not several:
        return [("", pieces)]
    return [("right and wrong", pieces), ("prediction", _structures(label_surfaces(scene, scene.prediction), layers))]


def _structures(surfaces: dict[int, Surface], layers: Layers) -> list[Piece]:
    """Pieces in the structures' colours; what encloses another structure is glass, the rest is solid."""
    boxes = {value: (s.points.min(axis=0), s.points.max(axis=0)) for value, s in surfaces.items()}

    def encloses(outer: int, inner: int) -> bool:
        (a, b), (c, d) = boxes[outer], boxes[inner]
        middle = (c + d) / 2
        return bool(np.prod(b - a) > np.prod(d - c) and (middle > a).all() and (middle < b).all())

    glass = {v for v in surfaces if any(encloses(v, other) for other in surfaces if other != v)}
    return [Piece(s, layers.hues[v], *((0.32, 0.9) if v in glass else (1.0, 1.0))) for v, s in surfaces.items()]


def _glassiness(body: Body) -> tuple[float, float]:
    return (0.42, 0.97) if body.kind == "brain" else (0.10, 0.5)


def _floor_of(scene: Scene, body: Body) -> Floor:
    if body.surface is not None:
        points = body.surface.points
        low, high = points.min(axis=0), points.max(axis=0)
        middle = (low + high) / 2
        radius = 1.04 * float(np.hypot(*(points[:, :2] - middle[:2]).T).max())
        return Floor(float(low[2]), (float(middle[0]), float(middle[1])), (radius, radius), None)
    found = bounding_box(scene.found)
    index = 0 if found is None else max(0, found.start[2] - 2)
    grey = scene.window.grey(cut(scene.image, AXIAL, index))
    ends = [(scene.position_mm(a, 0), scene.position_mm(a, scene.shape[a] - 1)) for a in (0, 1)]
    middle_mm = ((ends[0][0] + ends[0][1]) / 2, (ends[1][0] + ends[1][1]) / 2)
    half_mm = ((ends[0][1] - ends[0][0]) / 2, (ends[1][1] - ends[1][0]) / 2)
    return Floor(scene.position_mm(2, index), middle_mm, half_mm, grey)


def _reach(body: Body, floor: Floor, surfaces: Sequence[Surface]) -> NDArray[np.float32]:
    ring = [floor.edge(2 * pi * k / 36, 1.1) for k in range(36)]
    if floor.slice_grey is not None:
        (x, y), (a, b) = floor.middle_mm, floor.half_mm
        ring += [(x + i * a, y + j * b, floor.height_mm) for i in (-1.04, 1.04) for j in (-1.04, 1.04)]
    clouds = [s.points[::97] for s in surfaces] + ([] if body.surface is None else [body.surface.points[::97]])
    return np.concatenate([np.array(ring, np.float32), *clouds])


def _backdrop(layers: Layers, caption: str, titles: Sequence[str], seen: Camera) -> tuple[Image, int]:
    """Everything that does not move, and the row where the panels begin."""
    width = seen.width * len(titles)
    canvas, draw = blank(width, seen.height + 220)
    title, _, small = caption.strip().partition("\n")
    write_words(draw, (18, 40), shortened(draw, title, 27, width - 36), 27)
    y = 40
    for line in small.splitlines()[:2]:
        y += 25
        write_words(draw, (18, y), shortened(draw, line, 16, width - 36), 16, QUIET)
    y = draw_legend(draw, _legend(layers, len(titles) > 1), (18, y + 32), width - 36, 16)
    for k, words in enumerate(titles):
        if words:
            write_words(draw, ((k + 0.5) * seen.width, y + 34), words, 17, INK, "ms")
    top = y + (44 if any(titles) else 12)
    return canvas.crop((0, 0, width, top + seen.height + 12)), top


def _legend(layers: Layers, both: bool) -> Legend:
    """Areas of the verdicts; with two panels the structures' colours too, as areas."""
    if not both:
        return layers.areas
    structures = tuple((words.removeprefix("true "), colour, False) for words, colour, line in layers.legend if line)
    return layers.areas + structures


def _pictures(panels: Sequence[Sequence[Piece]], shell: Piece | None, seen: Camera, floor: Floor) -> Iterator[Image]:
    """Each panel from one side, on the floor, with the letters that are behind it below and the others above."""
    image, drawing = need("PIL.Image"), need("PIL.ImageDraw")
    ground, draw = blank(2 * seen.width, 2 * seen.height)
    if floor.slice_grey is None:
        _draw_ring(draw, floor, finer(seen))
    else:
        _lay_slice(ground, floor, finer(seen))
    ground = ground.reduce(2)
    places = _letters(floor, seen)
    for letter, place, near in places:
        if near < 0:
            write_words(drawing.Draw(ground), place, letter, 20, _dimmed(near), "mm")
    for pixels in render(panels, shell, seen, np.asarray(ground, np.float32)):
        picture = image.fromarray(pixels)
        for letter, place, near in places:
            if near >= 0:
                write_words(drawing.Draw(picture), place, letter, 20, _dimmed(near), "mm", floor.slice_grey is not None)
        yield picture


def _dimmed(near: float) -> Colour:
    """A letter's colour: bright towards the eye (1), dim away from it (-1)."""
    share = 0.68 + 0.32 * near
    r, g, b = (round(ground + (ink - ground) * share) for ground, ink in zip(GROUND, INK, strict=True))
    return r, g, b


def _letters(floor: Floor, seen: Camera) -> list[tuple[str, tuple[float, float], float]]:
    """Each direction's letter, its pixel, and how much it faces the eye, from -1 to 1."""
    angles = {"R": 0.0, "A": pi / 2, "L": pi, "P": 3 * pi / 2}
    out = 1.0 + 0.07 * (1 if floor.slice_grey is None else 1.3)
    at, _ = seen.project(np.array([floor.edge(angle, out) for angle in angles.values()], np.float32))
    towards = pi / 2 + radians(seen.azimuth_deg)  # the eye's own angle from the patient's right
    return [
        (letter, (float(x), float(y)), cos(angle - towards))
        for (letter, angle), (x, y) in zip(angles.items(), at, strict=True)
    ]


def _draw_ring(draw: ImageDraw, floor: Floor, fine: Camera) -> None:
    angles = [2 * pi * k / 180 for k in range(181)]
    at, _ = fine.project(np.array([floor.edge(angle) for angle in angles], np.float32))
    draw.line([(float(x), float(y)) for x, y in at], fill=RING, width=3, joint="curve")
    for k in range(36):
        if k % 9:
            inner, outer = (floor.edge(2 * pi * k / 36, out) for out in (1.0, 1.02 if k % 3 else 1.04))
            ends, _ = fine.project(np.array([inner, outer], np.float32))
            draw.line([(float(x), float(y)) for x, y in ends], fill=RING, width=2)


def _lay_slice(ground: Image, floor: Floor, fine: Camera) -> None:
    """The crop's slice as a floor in perspective, dimmed so that the structure stands out."""
    image = need("PIL.Image")
    grey = floor.slice_grey
    assert grey is not None
    rows, columns = grey.shape
    times = max(1, round(500 / max(rows, columns)))
    texture = image.fromarray(grey).resize((columns * times, rows * times), image.Resampling.BICUBIC)
    shade = np.clip(np.asarray(texture), 0, 255)[..., None] * np.array((0.50, 0.54, 0.60), np.float32)
    texture = image.fromarray(np.rint(shade).astype(np.uint8))
    (x, y), (a, b) = floor.middle_mm, floor.half_mm
    # The slice's corners: row 0 is anterior, column 0 the patient's right.
    corners = [(x + a, y + b), (x - a, y + b), (x - a, y - b), (x + a, y - b)]
    at, _ = fine.project(np.array([(*corner, floor.height_mm) for corner in corners], np.float32))
    w, h = texture.size
    coefficients = _perspective(at, [(0, 0), (w, 0), (w, h), (0, h)])
    size = ground.size
    laid = texture.transform(size, image.Transform.PERSPECTIVE, coefficients, image.Resampling.BICUBIC)
    mask = image.new("L", texture.size, 255).transform(
        size, image.Transform.PERSPECTIVE, coefficients, image.Resampling.NEAREST
    )
    ground.paste(laid, (0, 0), mask)
    draw = need("PIL.ImageDraw").Draw(ground)
    outline = [(float(u), float(v)) for u, v in at]
    draw.line([*outline, outline[0]], fill=RING, width=3, joint="curve")


def _perspective(at: NDArray[np.float32], source: Sequence[tuple[float, float]]) -> tuple[float, ...]:
    """Pillow's eight coefficients that fetch `source` points for the picture's points `at`."""
    rows, wanted = [], []
    for (x, y), (u, v) in zip(at.astype(np.float64), source, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        wanted += [u, v]
    return tuple(float(c) for c in np.linalg.solve(np.array(rows), np.array(wanted)))
