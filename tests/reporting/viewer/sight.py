"""What a screenshot of the viewer shows, measured: where the overlay's colour is, where the head, its greys."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def picture(opened):
    """The canvas (rows, columns, 3), after NiiVue has drawn what was asked for."""
    shot = opened.locator("#canvas").screenshot()
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)


def purple(pixels, by=25):
    """Where the overlay's colour is: purple mixed with grey has less green than red and blue."""
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    return (red - green > by) & (blue - green > by)


def middle(mask):
    """(down, across) of a mask's centre, 0 to 1."""
    places = np.argwhere(mask)
    assert len(places) > 40, "the structure is not in the picture"
    return places.mean(axis=0) / mask.shape


def head(pixels):
    """The grey head: (top, bottom, left, right), without the thin crosshair and the letters beside it."""
    lit = (pixels.sum(axis=2) > 60) & (np.ptp(pixels, axis=2) < 12)
    rows, columns = np.flatnonzero(lit.mean(axis=1) > 0.06), np.flatnonzero(lit.mean(axis=0) > 0.06)
    return rows[0] / len(lit), rows[-1] / len(lit), columns[0] / lit.shape[1], columns[-1] / lit.shape[1]


def shrunk(grey, size=(40, 40)):
    """A (rows, columns) picture in greys 0 to 255, resized."""
    return np.asarray(Image.fromarray(grey.astype(np.float32)).resize(size, Image.Resampling.BOX))


def box_of(mask):
    """The slices that hold a mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
