"""Paints one slice: the grey image, and over it where the prediction is right, wrong or missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from decaseg.reporting.extras import need
from decaseg.reporting.look import CONFUSED as CONFUSED
from decaseg.reporting.look import FALSE_POSITIVE as FALSE_POSITIVE
from decaseg.reporting.look import MISSED as MISSED
from decaseg.reporting.look import PALETTES, VERDICT_WORDS
from decaseg.reporting.look import RIGHT as RIGHT
from decaseg.reporting.look import Colour as Colour

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

GROUND: Colour = (11, 14, 20)
INK: Colour = (240, 243, 248)
QUIET: Colour = (150, 160, 176)

VERDICTS: Mapping[int, tuple[str, Colour]] = {
    verdict: (words, PALETTES["intel"].verdicts[verdict]) for verdict, words in VERDICT_WORDS.items()
}
ROUNDED = 0.35  # of a voxel: how far borders of classes are blurred, so that they are drawn without stairs


@dataclass(frozen=True)
class Coat:
    """How masks are painted: a colour a class, how much of it covers the image, and the width of the rim in pixels.

    The grey below is dimmed to a part of itself, or colours would wash out where the image is bright. `outlines` and
    `traces` are the colours of lines that follow a second and a third label map, the third wider and below.
    """

    colours: Mapping[int, Colour]
    fill: float = 0.52
    dimmed: float = 0.64
    rim: float = 0.95
    rim_px: float = 2.0
    outlines: Mapping[int, Colour] = field(default_factory=dict)
    traces: Mapping[int, Colour] = field(default_factory=dict)


def judge(prediction: NDArray[np.uint8], truth: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each voxel's verdict: 0 background in both, else RIGHT, FALSE_POSITIVE, MISSED or CONFUSED (two structures)."""
    verdict = np.zeros(prediction.shape, np.uint8)
    verdict[(prediction > 0) & (truth == 0)] = FALSE_POSITIVE
    verdict[(prediction == 0) & (truth > 0)] = MISSED
    verdict[(prediction > 0) & (truth > 0)] = CONFUSED
    verdict[(prediction > 0) & (prediction == truth)] = RIGHT
    return verdict


def structure_colour(position: int, palette: str = "intel") -> Colour:
    colours = PALETTES[palette].structures
    return colours[position % len(colours)]


def paint_slice(
    grey: NDArray[np.float32],
    classes: NDArray[np.uint8],
    size: tuple[int, int],
    coat: Coat,
    outlined: NDArray[np.uint8] | None = None,
    traced: NDArray[np.uint8] | None = None,
) -> Image:
    """A picture of `size` (width, height) from a (rows, columns) slice in greys 0 to 255 and its classes.

    Between voxels the image is interpolated with cubics and the classes linearly with the strongest winning, so a
    voxel's centre always has its own class while borders run smoothly instead of in stairs. `outlined` and `traced`
    hold label maps that are drawn as lines in `coat.outlines` and `coat.traces`.
    """
    image = need("PIL.Image")
    base = image.fromarray(grey).resize(size, image.Resampling.BICUBIC)
    picture = np.repeat(np.clip(np.asarray(base), 0, 255)[..., None], 3, axis=2)
    for part, value, mask in _regions(classes, size):
        colour = coat.colours.get(value)
        if colour is not None:
            rim = mask & ~_eroded(mask, round(2 * coat.rim_px))
            view = picture[part]
            view *= 1 - (1 - coat.dimmed) * _halved(mask)[..., None]
            _blend(view, colour, coat.fill * _halved(mask & ~rim) + coat.rim * _halved(rim))
    for labels, colours, width in ((traced, coat.traces, 2.2), (outlined, coat.outlines, 1.0)):
        if labels is not None:
            for part, value, mask in _regions(labels, size):
                if (colour := colours.get(value)) is not None:
                    line = mask & ~_eroded(mask, max(1, round(2 * width * coat.rim_px)))
                    _blend(picture[part], colour, _halved(line))
    return image.fromarray(np.rint(picture).astype(np.uint8))


def _regions(
    classes: NDArray[np.uint8], size: tuple[int, int]
) -> Iterator[tuple[tuple[slice, slice], int, NDArray[np.bool_]]]:
    """The part of a picture of `size` that a class touches, the class, and its mask there at twice the resolution."""
    image = need("PIL.Image")
    rows, columns = (np.flatnonzero(classes.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return
    scale = size[0] / classes.shape[1], size[1] / classes.shape[0]
    # Two voxels round the classes, in whole pixels; the part of the slice below them is not whole voxels then.
    left, right = _pixels(columns, scale[0], size[0])
    top, bottom = _pixels(rows, scale[1], size[1])
    box = (left / scale[0], top / scale[1], right / scale[0], bottom / scale[1])
    double = (2 * (right - left), 2 * (bottom - top))
    blur = need("PIL.ImageFilter").GaussianBlur((ROUNDED * 2 * scale[0], ROUNDED * 2 * scale[1]))
    best = np.zeros(double[::-1], np.uint8)
    winner = np.zeros(double[::-1], np.uint8)
    values = [int(v) for v in np.unique(classes)]
    for value in values:
        member = image.fromarray(np.where(classes == value, np.uint8(255), np.uint8(0)))
        strength = np.asarray(member.resize(double, image.Resampling.BILINEAR, box=box).filter(blur))
        stronger = strength > best
        best[stronger], winner[stronger] = strength[stronger], value
    part = slice(top, bottom), slice(left, right)
    yield from ((part, value, winner == value) for value in values if value)


def _pixels(touched: NDArray[np.intp], scale: float, most: int) -> tuple[int, int]:
    first, last = (int(touched[0]) - 2) * scale, (int(touched[-1]) + 3) * scale
    return max(0, int(first)), min(most, int(last) + 1)


def _eroded(mask: NDArray[np.bool_], steps: int) -> NDArray[np.bool_]:
    for _ in range(steps):
        inner = mask.copy()
        inner[1:] &= mask[:-1]
        inner[:-1] &= mask[1:]
        inner[:, 1:] &= mask[:, :-1]
        inner[:, :-1] &= mask[:, 1:]
        mask = inner
    return mask


def _halved(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Mean of 2x2 pixels: the antialiasing."""
    m = mask.astype(np.float32)
    mean: NDArray[np.float32] = (m[::2, ::2] + m[1::2, ::2] + m[::2, 1::2] + m[1::2, 1::2]) / np.float32(4)
    return mean


def _blend(picture: NDArray, colour: Colour, share: NDArray[np.float32]) -> None:
    picture += (np.array(colour, np.float32) - picture) * share[..., None]


def font(size: int, text: str = "") -> Any:
    """Pillow's own Aileron; DejaVu Sans, which matplotlib brings, where the text has letters Aileron lacks."""
    return _face(size, all(" " <= letter <= "~" or letter in "·±" for letter in text))


@lru_cache(maxsize=32)
def _face(size: int, plain: bool) -> Any:
    fonts = need("PIL.ImageFont")
    if plain:
        return fonts.load_default(size)
    try:
        return fonts.truetype(need("matplotlib.font_manager").findfont("DejaVu Sans"), round(size * 0.9))
    except (ValueError, OSError):
        return fonts.load_default(size)


def write_words(
    draw: ImageDraw, place: tuple[float, float], text: str, size: int, colour: Colour = INK, anchor: str = "ls",
    halo: bool = False,
) -> float:  # fmt: skip
    """Writes one line and gives its width in pixels; `halo` keeps it readable over an image."""
    face = font(size, text)
    stroke = (2 if size < 24 else 3) if halo else 0
    draw.text(place, text, font=face, fill=colour, anchor=anchor, stroke_width=stroke, stroke_fill=(0, 0, 0))
    return float(draw.textlength(text, font=face))


def words_width(draw: ImageDraw, text: str, size: int) -> float:
    return float(draw.textlength(text, font=font(size, text)))


def shortened(draw: ImageDraw, text: str, size: int, width: float) -> str:
    """The text on one line, cut with dots where it is wider than `width` pixels."""
    text = " ".join(text.split())
    if words_width(draw, text, size) <= width:
        return text
    while text and words_width(draw, text + "...", size) > width:
        text = text[:-1]
    return text + "..."


def nice_length_mm(width_mm: float) -> float:
    """A round length for a scale bar, at most a third of the width.

    >>> nice_length_mm(140.0), nice_length_mm(35.0)
    (20.0, 10.0)
    """
    steps = [1, 2, 5, 10, 20, 50, 100, 200]
    return float(max((s for s in steps if s <= width_mm / 3), default=1))
