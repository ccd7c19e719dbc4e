"""The three planes of a case side by side, small: for notebooks and for TensorBoard."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from decaseg.geometry import Box, bounding_box, int3
from decaseg.reporting.overlay import Layers, blank, draw_legend, lay, letter_edges, scale_bar
from decaseg.reporting.paint import INK, write_words
from decaseg.reporting.planes import PLANES, Plane, body_box, make_scene, telling_index
from decaseg.volume import Volume

if TYPE_CHECKING:
    from PIL.Image import Image

# Pixels of the finished picture; notebooks show it at half its size, so that it is crisp on fine screens.
WIDTH, HEIGHT, ALONE, GAP, TEXT = 1160, 480, 820, 10, 24
MARGIN_MM = 20.0


def draw_three_planes(
    image: Volume,
    prediction: Volume | None = None,
    truth: Volume | None = None,
    names: Mapping[int, str] | None = None,
    channel: int = 0,
    planes: Sequence[Plane] = PLANES,
    places: bool = True,
) -> Image:
    """The slice with most structure of each plane side by side, the patient's right on the left, and a legend.

    With prediction and truth what is right and wrong is coloured as in `draw_overlay`, with one of them its structures;
    values without a name in `names` are background. Letters stand at the edges, a bar gives the scale, voxels have
    their true proportions. `places` writes where the slices lie, in the file's millimetres. ValueError where the grids
    differ.
    """
    names = names or {}
    labels = tuple(value for value in names if 0 < value < 256)
    # One map alone is shown in its structures' colours, whichever of the two it is.
    first, second = (prediction, truth) if prediction is not None else (truth, None)
    first = first if first is not None else image.with_array(np.zeros(image.shape, np.uint8))
    layers = lay(make_scene(image, first, second, labels, channel), names)
    if prediction is None and truth is None:
        layers = replace(layers, legend=())
    return _stacked(layers.cropped(_part(layers)), planes, places)


def _part(layers: Layers) -> Box:
    """What is worth showing: the body; of a label map without an image the structures with some millimetres round."""
    scene = layers.scene
    found = bounding_box(scene.found)
    if found is None or scene.image.any():
        return body_box(scene)
    pad = [round(MARGIN_MM / s) for s in scene.spacing_mm]
    return Box(
        int3(max(0, a - p) for a, p in zip(found.start, pad, strict=True)),
        int3(min(n, b + p) for b, p, n in zip(found.stop, pad, scene.shape, strict=True)),
    )


def data_uri(picture: Image) -> str:
    """A picture as PNG inside an address, for HTML that needs no other file."""
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _stacked(layers: Layers, planes: Sequence[Plane], places: bool) -> Image:
    row = _row(layers, planes, places)
    canvas, draw = blank(WIDTH, row.height + 240)
    canvas.paste(row, (0, 0))
    bottom = row.height
    if layers.legend:
        bottom = draw_legend(draw, layers.legend, (GAP, bottom + TEXT + 12), WIDTH - 2 * GAP, TEXT) + 14
    return canvas.crop((0, 0, WIDTH, min(bottom, canvas.height)))


def _row(layers: Layers, planes: Sequence[Plane], places: bool) -> Image:
    scene = layers.scene
    extent = [n * s for n, s in zip(scene.shape, scene.spacing_mm, strict=True)]
    wide, high = sum(extent[p.across] for p in planes), max(extent[p.down] for p in planes)
    room = WIDTH - (len(planes) - 1) * GAP
    scale = min(room / wide, (HEIGHT if len(planes) > 1 else ALONE) / high)
    height = max(1, round(high * scale))
    slack = (room - wide * scale) / len(planes)
    canvas, draw = blank(WIDTH, height)
    left = 0.0
    for place, plane in enumerate(planes):
        index = telling_index(scene, plane)
        size = (max(1, round(extent[plane.across] * scale)), max(1, round(extent[plane.down] * scale)))
        panel = (round(left), 0, round(left + extent[plane.across] * scale + slack), height)
        draw.rectangle((panel[0], 0, panel[2] - 1, height - 1), fill=(0, 0, 0))
        at = ((panel[0] + panel[2] - size[0]) // 2, (height - size[1]) // 2)
        canvas.paste(layers.picture(plane, index, size), at)
        letter_edges(draw, plane, panel, TEXT)
        if places:
            words = f"{'xyz'[plane.axis]} {scene.position_mm(plane.axis, index):.0f} mm"
            write_words(draw, (panel[2] - GAP, height - GAP), words, TEXT - 4, INK, "rs", halo=True)
        if place == 0:
            scale_bar(draw, (panel[0] + GAP, height - GAP), scale, extent[plane.across], TEXT - 4)
        left = panel[2] + GAP
    return canvas
