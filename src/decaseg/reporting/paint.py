"""Paints one slice: the grey image, and over it where the prediction is right, wrong or missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from decaseg.reporting.extras import need

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

Colour = tuple[int, int, int]

GROUND: Colour = (11, 14, 20)
INK: Colour = (240, 243, 248)
QUIET: Colour = (150, 160, 176)

# Purple, red and blue as Intel's pages have them, with lightness far enough apart to survive a grey print.
RIGHT, FALSE_POSITIVE, MISSED, CONFUSED = 1, 2, 3, 4
VERDICTS: Mapping[int, tuple[str, Colour]] = {
    RIGHT: ("right", (178, 92, 255)),
    FALSE_POSITIVE: ("false positive", (255, 64, 56)),
    MISSED: ("missed", (40, 156, 255)),
    CONFUSED: ("wrong structure", (255, 190, 60)),
}
STRUCTURE_COLOURS: tuple[Colour, ...] = (
    (64, 224, 190), (255, 214, 90), (255, 138, 196), (150, 214, 110), (126, 176, 255), (255, 160, 92),
)  # fmt: skip


@dataclass(frozen=True)
class Coat:
    """How masks are painted: a colour a class, how much of it covers the image, and the width of the rim in pixels.

    The grey below is dimmed to a part of itself, or colours would wash out where the image is bright.
    """

    colours: Mapping[int, Colour]
    fill: float = 0.45
    dimmed: float = 0.8
    rim: float = 0.95
    rim_px: float = 2.0
    outlines: Mapping[int, Colour] = field(default_factory=dict)


def judge(prediction: NDArray[np.uint8], truth: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each voxel's verdict: 0 background in both, else RIGHT, FALSE_POSITIVE, MISSED or CONFUSED (two structures)."""
    verdict = np.zeros(prediction.shape, np.uint8)
    verdict[(prediction > 0) & (truth == 0)] = FALSE_POSITIVE
    verdict[(prediction == 0) & (truth > 0)] = MISSED
    verdict[(prediction > 0) & (truth > 0)] = CONFUSED
    verdict[(prediction > 0) & (prediction == truth)] = RIGHT
    return verdict


def structure_colour(position: int) -> Colour:
    return STRUCTURE_COLOURS[position % len(STRUCTURE_COLOURS)]


def paint_slice(
    grey: NDArray[np.float32],
    classes: NDArray[np.uint8],
    size: tuple[int, int],
    coat: Coat,
    outlined: NDArray[np.uint8] | None = None,
) -> Image:
    """A picture of `size` (width, height) from a (rows, columns) slice in greys 0 to 255 and its classes.

    Between voxels the image is interpolated with cubics and the classes linearly with the strongest winning, so a
    voxel's centre always has its own class while borders run straight instead of in stairs. `outlined` holds a
    second label map that is drawn as lines in `coat.outlines`.
    """
    image = need("PIL.Image")
    base = image.fromarray(grey).resize(size, image.Resampling.BICUBIC)
    picture = np.repeat(np.clip(np.asarray(base), 0, 255)[..., None], 3, axis=2)
    for value, mask in _regions(classes, size).items():
        colour = coat.colours.get(value)
        if colour is not None:
            rim = mask & ~_eroded(mask, round(2 * coat.rim_px))
            picture = picture * (1 - (1 - coat.dimmed) * _halved(mask)[..., None])
            picture = _blend(picture, colour, coat.fill * _halved(mask & ~rim) + coat.rim * _halved(rim))
    if outlined is not None:
        for value, mask in _regions(outlined, size).items():
            colour = coat.outlines.get(value)
            if colour is not None:
                picture = _blend(picture, colour, _halved(mask & ~_eroded(mask, round(2 * coat.rim_px))))
    return image.fromarray(np.rint(picture).astype(np.uint8))


def _regions(classes: NDArray[np.uint8], size: tuple[int, int]) -> dict[int, NDArray[np.bool_]]:
    """Each class as a mask at twice `size`, from linear interpolation with the strongest class winning."""
    image = need("PIL.Image")
    values = [int(v) for v in np.unique(classes)]
    if values == [0]:
        return {}
    double = (2 * size[0], 2 * size[1])
    best = np.full(double[::-1], -1.0, np.float32)
    winner = np.zeros(double[::-1], np.uint8)
    for value in values:
        member = (classes == value).astype(np.float32)
        strength = np.asarray(image.fromarray(member).resize(double, image.Resampling.BILINEAR))
        stronger = strength > best + 1e-4
        best[stronger], winner[stronger] = strength[stronger], value
    return {value: winner == value for value in values if value}


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


def _blend(picture: NDArray, colour: Colour, share: NDArray[np.float32]) -> NDArray:
    blended: NDArray = picture + (np.array(colour, np.float32) - picture) * share[..., None]
    return blended


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
