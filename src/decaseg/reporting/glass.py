"""Renders surfaces as a body of glass with lit, coloured pieces inside, from any side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, cos, radians

import numpy as np
from numpy.typing import NDArray

from decaseg.geometry import float3
from decaseg.reporting.look import Colour
from decaseg.reporting.raster import Camera, Layer, rasterise
from decaseg.reporting.surface import Surface

ELEVATION_DEG = 16.0
SHELL: Colour = (206, 220, 242)
KEY_LIGHT = (-0.50, 0.62, 0.60)  # from the picture's upper left, towards the eye
GLOSS = 32


@dataclass(frozen=True, eq=False)
class Piece:
    """A surface, its colour, and how much of what lies behind it is covered where it faces the eye, and at its rim."""

    surface: Surface
    colour: Colour
    cover: float = 1.0
    rim: float = 1.0


def fit_camera(reach: NDArray[np.float32], size: tuple[int, int], margin: float = 0.95) -> Camera:
    """The view from the front in which the points (K, 3) stay in the picture at every angle.

    It is as wide as `size` says, and no higher than it must be.
    """
    low, high = reach.min(axis=0), reach.max(axis=0)
    middle = (low + high) / 2
    distance = 2.6 * float(np.linalg.norm(high - low))
    for _ in range(2):  # the second round centres what perspective has shifted
        seen = Camera(float3(middle), 0.0, ELEVATION_DEG, distance, 1.0, 0, 0)
        at = np.concatenate([replace(seen, azimuth_deg=a).project(reach)[0] for a in range(0, 360, 15)])
        top, bottom = float(at[:, 1].min()), float(at[:, 1].max())
        middle[2] -= (top + bottom) / 2 / cos(radians(ELEVATION_DEG))
    scale = margin * min(size[0] / 2 / float(np.abs(at[:, 0]).max()), size[1] / (bottom - top))
    height = min(size[1], 2 * ceil((bottom - top) * scale / margin / 2))
    return replace(seen, centre_mm=float3(middle), scale=scale, width=size[0], height=height)


def render(
    panels: Sequence[Sequence[Piece]], shell: Piece | None, seen: Camera, ground: NDArray[np.float32]
) -> list[NDArray[np.uint8]]:
    """A picture (height, width, 3) for each set of pieces, in the same shell, over `ground`; antialiased."""
    fine = finer(seen)
    pane = None if shell is None else rasterise(shell.surface, fine, _glass(shell, fine))
    pictures = []
    for pieces in panels:
        colours, cover = _inside(pieces, fine)
        if shell is not None and pane is not None:
            _glaze(colours, cover, shell.colour, pane)
        colours, cover = (_halved(part.reshape(fine.height, fine.width, -1)) for part in (colours, cover))
        pictures.append(np.rint(np.clip(colours + ground * (1 - cover), 0, 255)).astype(np.uint8))
    return pictures


def finer(seen: Camera) -> Camera:
    """The same view with twice the pixels along both edges."""
    return replace(seen, scale=2 * seen.scale, width=2 * seen.width, height=2 * seen.height)


def _inside(pieces: Sequence[Piece], seen: Camera) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Premultiplied colours (pixels, 3) and cover (pixels, 1) of the pieces, sorted by depth at each pixel."""
    count = seen.width * seen.height
    colours, cover = np.zeros((count, 3), np.float32), np.zeros((count, 1), np.float32)
    layers = [(rasterise(piece.surface, seen, _shaded(piece, seen)), piece) for piece in pieces]
    if not layers:
        return colours, cover
    touched = np.zeros(count, bool)
    for layer, _ in layers:
        touched[layer.pixels] = True
    pixels = np.flatnonzero(touched)
    place = np.zeros(count, np.int32)
    place[pixels] = np.arange(len(pixels), dtype=np.int32)
    depth = np.full((len(layers), len(pixels)), -np.inf, np.float32)
    paint = np.zeros((len(layers), len(pixels), 4), np.float32)
    for k, (layer, piece) in enumerate(layers):
        at = place[layer.pixels]
        lit, gloss, alpha, near = layer.values.T
        depth[k, at] = near
        tone = np.array(piece.colour, np.float32) * lit[:, None] + 255 * gloss[:, None]
        paint[k, at, :3] = np.clip(tone, 0, 255) * alpha[:, None]
        paint[k, at, 3] = alpha
    order = np.argsort(depth, axis=0)
    over = np.zeros((len(pixels), 4), np.float32)
    for k in range(len(layers)):  # from far to near
        each = np.take_along_axis(paint, order[k][None, :, None], axis=0)[0]
        over = each + over * (1 - each[:, 3:])
    colours[pixels], cover[pixels] = over[:, :3], over[:, 3:]
    return colours, cover


def _shaded(piece: Piece, seen: Camera) -> NDArray[np.float32]:
    """Light, gloss, cover and depth (N, 4) of a piece's points."""
    normals = seen.turned_to_eye(piece.surface.normals)
    key = np.array(KEY_LIGHT, np.float32) / np.linalg.norm(KEY_LIGHT)
    halfway = key + np.array([0, 0, 1], np.float32)
    halfway /= np.linalg.norm(halfway)
    facing = np.clip(normals[:, 2], 0, 1)
    wrapped = np.clip((normals @ key + 0.3) / 1.3, 0, 1)
    fill = np.clip(normals @ np.array([0.8, -0.1, 0.5], np.float32), 0, 1)
    open_ = piece.surface.openness
    lit = (0.20 + 0.80 * wrapped + 0.16 * fill) * (0.35 + 0.65 * open_)
    gloss = 0.30 * np.clip(normals @ halfway, 0, 1) ** GLOSS * open_ + 0.10 * (1 - facing) ** 3
    cover = piece.cover + (piece.rim - piece.cover) * (1 - facing) ** 2
    return np.stack([lit, gloss, cover, seen.project(piece.surface.points)[1]], axis=1).astype(np.float32)


def _glaze(colours: NDArray[np.float32], cover: NDArray[np.float32], colour: Colour, layer: Layer) -> None:
    """Lays the shell over what is drawn, in place: glass that shows its lit ridges and its rim."""
    lit, alpha = layer.values.T
    behind = cover[layer.pixels, 0]
    # Over something inside, the glass is thinner: it must not wash the colours out.
    alpha = np.clip(alpha, 0, 1) * (1 - np.float32(0.6) * behind)
    through = 1 - alpha
    tone = np.array(colour, np.float32) * (np.clip(lit, 0, 1.3) * alpha)[:, None]
    tone += np.take(colours, layer.pixels, axis=0) * through[:, None]
    colours[layer.pixels] = tone
    cover[layer.pixels, 0] = alpha + behind * through


def _glass(shell: Piece, seen: Camera) -> NDArray[np.float32]:
    """Light and cover (N, 2) of the shell's points."""
    normals = seen.turned_to_eye(shell.surface.normals)
    key = np.array(KEY_LIGHT, np.float32) / np.linalg.norm(KEY_LIGHT)
    facing = np.clip(normals[:, 2], 0, 1)
    wrapped = np.clip((normals @ key + 0.35) / 1.35, 0, 1)
    back = np.clip(normals @ np.array([0.75, 0.35, -0.2], np.float32), 0, 1)
    open_ = shell.surface.openness
    lit = (0.30 + 0.75 * wrapped**1.5 + 0.5 * back**2) * (0.25 + 0.75 * open_)
    cover = shell.cover * (0.45 + 0.9 * wrapped**2 * open_) + (shell.rim - shell.cover) * (1 - facing) ** 2.4
    return np.stack([lit, cover], axis=1).astype(np.float32)


def _halved(fine: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of 2 x 2 pixels: the antialiasing."""
    rows = fine[::2] + fine[1::2]
    halved: NDArray[np.float32] = (rows[:, ::2] + rows[:, 1::2]) * np.float32(0.25)
    return halved
