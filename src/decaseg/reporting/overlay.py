"""Draws one case as a poster: three planes through the structure, a row of axial slices, what is right and wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from decaseg.geometry import Box, bounding_box, int3
from decaseg.reporting.extras import need
from decaseg.reporting.look import CONFUSED, VERDICT_WORDS, Colour, Look
from decaseg.reporting.paint import (
    GROUND,
    INK,
    QUIET,
    Coat,
    judge,
    nice_length_mm,
    paint_slice,
    shortened,
    structure_colour,
    words_width,
    write_words,
)
from decaseg.reporting.planes import (
    AXIAL,
    PLANES,
    Plane,
    Scene,
    body_box,
    cut,
    make_scene,
    spread_indices,
    telling_index,
)
from decaseg.storage.files import replacing
from decaseg.volume import Volume

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

# Pixels of the finished picture, which is meant to be shown at half its size.
WIDTH, MARGIN, GAP = 1920, 48, 12
HERO_MAX_HEIGHT = 820
TILE_ROWS = 2


Legend = tuple[tuple[str, Colour, bool], ...]  # words, colour, drawn as a line


@dataclass(frozen=True, eq=False)
class Layers:
    """A scene and what is painted over it: classes a voxel, their coat, and label maps whose borders are drawn.

    `outlined` is the truth and `traced` the prediction, where they are drawn as lines; `hues` gives each structure
    its colour.
    """

    scene: Scene
    classes: NDArray[np.uint8]
    coat: Coat
    outlined: NDArray[np.uint8] | None
    legend: Legend
    hues: Mapping[int, Colour] = field(default_factory=dict)
    traced: NDArray[np.uint8] | None = None

    def picture(self, plane: Plane, index: int, size: tuple[int, int], rim_px: float = 2.0) -> Image:
        grey = self.scene.window.grey(cut(self.scene.image, plane, index))
        outlined = None if self.outlined is None else cut(self.outlined, plane, index)
        traced = None if self.traced is None else cut(self.traced, plane, index)
        coat = replace(self.coat, rim_px=rim_px)
        return paint_slice(grey, cut(self.classes, plane, index), size, coat, outlined, traced)

    def cropped(self, box: Box) -> Layers:
        a, b, c = box.slices
        outlined = None if self.outlined is None else self.outlined[a, b, c]
        traced = None if self.traced is None else self.traced[a, b, c]
        scene, classes = self.scene.cropped(box), self.classes[a, b, c]
        return replace(self, scene=scene, classes=classes, outlined=outlined, traced=traced)

    @property
    def areas(self) -> Legend:
        """The legend without its lines."""
        return tuple(entry for entry in self.legend if not entry[2])


def draw_overlay(
    path: Path,
    image: Volume,
    prediction: Volume,
    truth: Volume | None,
    names: Mapping[int, str],
    caption: str,
    channel: int = 0,
    look: Look | None = None,
) -> None:
    """Writes a PNG of one case: three planes, axial slices, and purple right, red false positive, blue missed.

    Prediction and truth are label maps on the image's grid in the same values; `names` gives each value its name
    (0, the background, may be left out) and values without a name count as background. With several structures
    amber marks voxels that both call a structure, but not the same one, and thin lines follow the true structures.
    Without truth each structure has its own colour. The caption's first line is the title. Raises ValueError when
    the grids differ.
    """
    poster(path, lay(make_scene(image, prediction, truth, known_labels(names), channel), names, look), caption)


def poster(path: Path, layers: Layers, caption: str) -> None:
    """Writes the PNG of layers that are laid already."""
    layers = layers.cropped(body_box(layers.scene))
    blocks = [_heading(layers, caption), _heroes(layers), _montage(layers), _small_print(layers.scene)]
    picture = _stacked(blocks)
    with replacing(path) as temporary:
        picture.save(temporary, format="PNG", compress_level=6)


def case_caption(case: str, scores: Mapping[str, Mapping[str, float | None]]) -> str:
    """Title and small print for a case from its scores, structure -> metric -> value, as metrics.json has them.

    >>> case_caption("BRATS_001", {"edema": {"dice": 0.9, "volume_ml": 40.2, "volume_truth_ml": 43.0, "hd95_mm": 4.0}})
    'BRATS_001\\nDice 0.900 · 40.2 ml (true 43.0 ml) · 95 % Hausdorff distance 4.0 mm'
    """
    dice = {name: value for name, row in scores.items() if (value := row.get("dice")) is not None}
    parts = [f"Dice {float(np.mean(list(dice.values()))):.3f}"] if dice else []
    if len(scores) > 1:
        if dice:
            parts = [f"mean {parts[0]}", *(f"{name} {value:.3f}" for name, value in dice.items())]
        sizes = [f"{name} {size}" for name, row in scores.items() if (size := _sizes(row))]
        lines = [" · ".join(parts), " · ".join(sizes)]
        return "\n".join([case, *(line for line in lines if line)])
    for row in scores.values():
        parts += [size] if (size := _sizes(row)) else []
        if (far := row.get("hd95_mm")) is not None:
            parts.append(f"95 % Hausdorff distance {far:.1f} mm")
    return "\n".join([case, " · ".join(parts)]) if parts else case


def _sizes(row: Mapping[str, float | None]) -> str:
    found, true = row.get("volume_ml"), row.get("volume_truth_ml")
    if found is None or true is None:
        return ""
    return f"{_millilitres(found)} (true {_millilitres(true)})"


def lay(scene: Scene, names: Mapping[int, str], look: Look | None = None) -> Layers:
    """What is painted over a scene, and the legend that explains it."""
    look = look or Look()
    named = {value: name for value, name in names.items() if value != 0}
    hues = {value: structure_colour(i, look.palette) for i, value in enumerate(sorted(named))}
    if look.outlines:
        return _lines(scene, named, hues)
    if scene.truth is None:
        return Layers(scene, scene.prediction, Coat(hues), None, _volumes(scene.prediction, named, hues, scene), hues)
    verdict = judge(scene.prediction, scene.truth)
    several = len(named) > 1
    colours = {v: colour for v, colour in look.colours.verdicts.items() if several or v != CONFUSED}
    legend = _volumes(verdict, VERDICT_WORDS, colours, scene)
    if not several:
        return Layers(scene, verdict, Coat(colours), None, legend, hues)
    legend += tuple((f"true {named[v]}", hues[v], True) for v in hues)
    return Layers(scene, verdict, Coat(colours, rim=0.45, outlines=hues), scene.truth, legend, hues)


def _lines(scene: Scene, named: Mapping[int, str], hues: Mapping[int, Colour]) -> Layers:
    """Nothing covers the image: lines in the structures' colours for the prediction, thin white ones for the truth."""
    nothing = np.zeros(scene.shape, np.uint8)
    words = {value: f"predicted {name}" for value, name in named.items()}
    legend = tuple((w, c, True) for w, c, _ in _volumes(scene.prediction, words, hues, scene))
    if scene.truth is None:
        return Layers(scene, nothing, Coat({}, traces=hues), None, legend, hues, scene.prediction)
    legend += ((f"truth {_millilitres(float(np.count_nonzero(scene.truth)) * scene.voxel_ml)}", INK, True),)
    coat = Coat({}, outlines=dict.fromkeys(hues, INK), traces=hues)
    return Layers(scene, nothing, coat, scene.truth, legend, hues, scene.prediction)


def _volumes(
    classes: NDArray[np.uint8], words: Mapping[int, str], colours: Mapping[int, Colour], scene: Scene
) -> Legend:
    counts = np.bincount(classes.ravel(), minlength=256)
    return tuple((f"{words[v]} {_millilitres(counts[v] * scene.voxel_ml)}", c, False) for v, c in colours.items())


def known_labels(names: Mapping[int, str]) -> tuple[int, ...]:
    return tuple(value for value in names if 0 < value < 256)


def _millilitres(volume_ml: float) -> str:
    return f"{volume_ml:.1f} ml" if volume_ml >= 0.1 or volume_ml == 0 else f"{volume_ml:.2g} ml"


def blank(width: int, height: int, colour: Colour = GROUND) -> tuple[Image, ImageDraw]:
    image = need("PIL.Image").new("RGB", (width, height), colour)
    return image, need("PIL.ImageDraw").Draw(image)


def _stacked(blocks: Sequence[Image]) -> Image:
    canvas, _ = blank(WIDTH, sum(block.height for block in blocks))
    top = 0
    for block in blocks:
        canvas.paste(block, (0, top))
        top += block.height
    return canvas


def _heading(layers: Layers, caption: str) -> Image:
    title, _, small = caption.strip().partition("\n")
    canvas, draw = blank(WIDTH, 420)
    room = WIDTH - 2 * MARGIN
    write_words(draw, (MARGIN, 92), shortened(draw, title, 54, room), 54)
    y = 92
    for line in small.splitlines()[:2]:
        y += 46
        write_words(draw, (MARGIN, y), shortened(draw, line, 30, room), 30, QUIET)
    y = draw_legend(draw, layers.legend, (MARGIN, y + 58), room, 28)
    return canvas.crop((0, 0, WIDTH, min(420, y + 34)))


def draw_legend(draw: ImageDraw, legend: Legend, place: tuple[int, int], room: int, size: int) -> int:
    """Writes the legend in as many lines as it needs, from the baseline `place`; gives the last baseline."""
    x, y = float(place[0]), place[1]
    box = round(size * 0.8)
    lines_begun = False
    for words, colour, line in legend:
        words = shortened(draw, words, size, room - 2 * box)
        width = box * 1.6 + words_width(draw, words, size) + size * 1.4
        first_line = line and not lines_begun
        lines_begun = lines_begun or line
        if x > place[0] and (first_line or x + width > place[0] + room):
            x, y = float(place[0]), y + round(size * 1.6)
        if line:
            middle = y - box // 2
            draw.rounded_rectangle((x, middle - 3, x + box, middle + 2), 2, fill=colour)
        else:
            draw.rounded_rectangle((x, y - box, x + box, y), 5, fill=colour)
        write_words(draw, (x + box * 1.6, y), words, size, INK)
        x += width
    return y


def _heroes(layers: Layers) -> Image:
    scene = layers.scene
    extent = [n * s for n, s in zip(scene.shape, scene.spacing_mm, strict=True)]
    room = WIDTH - 2 * MARGIN - 2 * GAP
    wide, high = sum(extent[p.across] for p in PLANES), max(extent[p.down] for p in PLANES)
    scale = min(room / wide, HERO_MAX_HEIGHT / high)
    height = round(high * scale)
    slack = (room - wide * scale) / 3
    canvas, draw = blank(WIDTH, height + GAP)
    left = float(MARGIN)
    for plane in PLANES:
        index = telling_index(scene, plane)
        size = (max(1, round(extent[plane.across] * scale)), max(1, round(extent[plane.down] * scale)))
        panel = (round(left), 0, round(left + size[0] + slack), height)
        draw.rectangle((panel[0], 0, panel[2] - 1, height - 1), fill=(0, 0, 0))
        at = ((panel[0] + panel[2] - size[0]) // 2, (height - size[1]) // 2)
        canvas.paste(layers.picture(plane, index, size), at)
        letter_edges(draw, plane, panel, 34)
        _name_plane(draw, plane, scene.position_mm(plane.axis, index), panel)
        if plane is AXIAL:
            scale_bar(draw, (panel[0] + 20, height - 20), scale, extent[plane.across], 24)
        left = panel[2] + GAP
    return canvas


def _name_plane(draw: ImageDraw, plane: Plane, position_mm: float, panel: tuple[int, int, int, int]) -> None:
    """Writes which plane it is into the panel's corner, on two lines where one would run into the letter on top."""
    name, place = plane.name, f"{'xyz'[plane.axis]} {position_mm:.0f} mm"
    x = panel[0] + 20
    if words_width(draw, f"{name}  {place}", 26) < (panel[2] - panel[0]) / 2 - 60:
        write_words(draw, (x, 40), f"{name}  {place}", 26, INK, halo=True)
        return
    write_words(draw, (x, 40), name, 26, INK, halo=True)
    write_words(draw, (x, 74), place, 26, INK, halo=True)


def letter_edges(draw: ImageDraw, plane: Plane, panel: tuple[int, int, int, int], size: int) -> None:
    """Writes the anatomical letters at the middle of the panel's four edges."""
    a, b, c, d = panel
    inset = round(size * 0.45)
    for letter, place, anchor in (
        (plane.left, (a + inset, (b + d) / 2), "lm"),
        (plane.right, (c - inset, (b + d) / 2), "rm"),
        (plane.top, ((a + c) / 2, b + inset), "mt"),
        (plane.bottom, ((a + c) / 2, d - inset), "mb"),
    ):
        write_words(draw, place, letter, size, INK, anchor, halo=True)


def scale_bar(draw: ImageDraw, place: tuple[int, int], scale: float, width_mm: float, size: int) -> None:
    """Draws a bar of a round length from `place`, its lower left corner; `scale` is in pixels a millimetre."""
    length = nice_length_mm(width_mm)
    x, y = place
    draw.rectangle((x - 2, y - 8, x + length * scale + 2, y), fill=(0, 0, 0))
    draw.rectangle((x, y - 6, x + length * scale, y - 2), fill=INK)
    write_words(draw, (x, y - 16), f"{length:.0f} mm", size, INK, halo=True)


def _montage(layers: Layers) -> Image:
    scene = layers.scene
    close = layers.cropped(_close_up(scene))
    extent = [n * s for n, s in zip(close.scene.shape, close.scene.spacing_mm, strict=True)]
    across = 8 if extent[0] < 0.75 * extent[1] else 6
    indices = spread_indices(scene, AXIAL, across * TILE_ROWS)
    rows = -(-len(indices) // across)
    side = (WIDTH - 2 * MARGIN - (across - 1) * GAP) // across
    high = round(side * min(1.4, max(0.7, extent[1] / extent[0])))
    scale = min(side / extent[0], high / extent[1])
    size = (max(1, round(extent[0] * scale)), max(1, round(extent[1] * scale)))
    canvas, draw = blank(WIDTH, rows * (high + GAP))
    for i, index in enumerate(indices):
        x = MARGIN + (i % across) * (side + GAP)
        y = (i // across) * (high + GAP)
        draw.rectangle((x, y, x + side - 1, y + high - 1), fill=(0, 0, 0))
        tile = close.picture(AXIAL, index, size, rim_px=1.5)
        canvas.paste(tile, (x + (side - size[0]) // 2, y + (high - size[1]) // 2))
        write_words(draw, (x + 12, y + 28), f"z {scene.position_mm(2, index):.0f} mm", 20, INK, halo=True)
        if i == 0:
            scale_bar(draw, (x + 12, y + high - 12), scale, extent[0], 20)
    return canvas


def _close_up(scene: Scene, margin_mm: float = 12.0) -> Box:
    """The structures' box with a margin in the axial plane, about square, all slices kept."""
    found = bounding_box(scene.found)
    if found is None:
        return Box((0, 0, 0), scene.shape)
    half_mm = max(found.shape[axis] * scene.spacing_mm[axis] for axis in (0, 1)) / 2 + margin_mm
    start, stop = [0, 0, 0], list(scene.shape)
    for axis in (0, 1):
        middle = (found.start[axis] + found.stop[axis]) / 2
        half = half_mm / scene.spacing_mm[axis]
        start[axis] = max(0, round(middle - half))
        stop[axis] = min(scene.shape[axis], round(middle + half))
    return Box(int3(start), int3(stop))


def _small_print(scene: Scene) -> Image:
    canvas, draw = blank(WIDTH, 64)
    voxel = " x ".join(f"{s:.3g}" for s in scene.spacing_mm)
    words = f"The patient's right is on the left of the picture · voxels {voxel} mm · "
    words += f"grey from {scene.window.low:.4g} to {scene.window.high:.4g}"
    if scene.tilt_deg > 5:
        words += f" · scanned {scene.tilt_deg:.0f} degrees off the body's axes, shown along its own"
    write_words(draw, (MARGIN, 30), shortened(draw, words, 22, WIDTH - 2 * MARGIN), 22, QUIET)
    return canvas
