"""Draws triangles into a picture with numpy alone: no display, no graphics card, no OpenGL."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np
from numpy.typing import NDArray

from decaseg.geometry import Float3
from decaseg.reporting.surface import Surface


@dataclass(frozen=True)
class Camera:
    """Looks at `centre_mm` from `azimuth_deg` round the patient's long axis and `elevation_deg` above the horizon.

    Azimuth 0 looks the patient in the face, so their right is on the picture's left; it grows towards their left
    side (90 looks at the left ear). `distance_mm` is the eye's, `scale` the pixels a millimetre at the centre.
    """

    centre_mm: Float3
    azimuth_deg: float
    elevation_deg: float
    distance_mm: float
    scale: float
    width: int
    height: int

    @property
    def axes(self) -> NDArray[np.float32]:
        """Rows: the picture's right, its top, and towards the eye, as RAS directions."""
        # The eye stands at angle a from anterior, turning towards the patient's left (-x).
        a, e = radians(self.azimuth_deg), radians(self.elevation_deg)
        towards = np.array([-sin(a) * cos(e), cos(a) * cos(e), sin(e)])
        right = np.array([-cos(a), -sin(a), 0.0])
        return np.stack([right, np.cross(towards, right), towards]).astype(np.float32)

    def project(self, points: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Pixels (N, 2), column and row with centres at halves, and millimetres towards the eye (N,)."""
        seen = (points - np.array(self.centre_mm, np.float32)) @ self.axes.T
        near = self.distance_mm / np.maximum(self.distance_mm - seen[:, 2], 1e-3) * self.scale
        columns = self.width / 2 + seen[:, 0] * near
        rows = self.height / 2 - seen[:, 1] * near
        return np.stack([columns, rows], axis=1), seen[:, 2]

    def turned_to_eye(self, normals: NDArray[np.float32]) -> NDArray[np.float32]:
        return normals @ self.axes.T


@dataclass(frozen=True, eq=False)
class Layer:
    """What is nearest at each covered pixel: flat `pixels` (P,), and `values` (P, K) interpolated from the points."""

    pixels: NDArray[np.int32]
    values: NDArray[np.float32]


def rasterise(surface: Surface, camera: Camera, values: NDArray[np.float32]) -> Layer:
    """The faces that look at the camera, the nearest winning, with `values` (N, K) of the points between them.

    Triangles are painted from far to near, which is exact as long as they are small beside the gaps between sheets.
    """
    at, depth = camera.project(surface.points)
    faces = surface.faces
    a, b, c = at[faces[:, 0]], at[faces[:, 1]], at[faces[:, 2]]
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (c[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1])
    faces = faces[area < 0] if _outward_is_negative(surface, camera, area) else faces[area > 0]
    faces = faces[np.argsort(depth[faces].sum(axis=1), kind="stable")]
    shown = np.full(camera.width * camera.height, -1, np.int32)
    _paint(shown, at, faces, camera.width, camera.height)
    pixels = np.flatnonzero(shown >= 0).astype(np.int32)
    return Layer(pixels, _between(shown[pixels], pixels, faces, at, values, camera.width))


def _outward_is_negative(surface: Surface, camera: Camera, area: NDArray[np.float32]) -> bool:
    """Whether faces that look at the camera run with a negative area, judged by the normals of the largest ones."""
    largest = np.argsort(np.abs(area))[-64:]
    facing = camera.turned_to_eye(surface.normals[surface.faces[largest, 0]])[:, 2]
    return float((np.sign(area[largest]) * facing).sum()) < 0


def _paint(
    shown: NDArray[np.int32], at: NDArray[np.float32], faces: NDArray[np.int32], width: int, height: int
) -> None:
    """Writes each face's number into the pixels whose centres it covers, later faces over earlier ones."""
    corners = at[faces]
    order = np.argsort(corners[:, :, 1], axis=1)
    corners = np.take_along_axis(corners, order[:, :, None], axis=1)
    (x0, y0), (x1, y1), (x2, y2) = (corners[:, k].T for k in range(3))
    first = np.clip(np.ceil(y0 - 0.5), 0, height).astype(np.int32)
    last = np.clip(np.ceil(y2 - 0.5), 0, height).astype(np.int32)  # exclusive
    rows_each = np.maximum(last - first, 0)
    face = np.repeat(np.arange(len(faces), dtype=np.int32), rows_each)
    row = first[face] + _counting(rows_each)
    y = row + np.float32(0.5)
    long_x = x0[face] + (y - y0[face]) * _slope(x2 - x0, y2 - y0)[face]
    upper = y < y1[face]
    short_x = np.where(
        upper,
        x0[face] + (y - y0[face]) * _slope(x1 - x0, y1 - y0)[face],
        x1[face] + (y - y1[face]) * _slope(x2 - x1, y2 - y1)[face],
    )
    left = np.clip(np.ceil(np.minimum(long_x, short_x) - 0.5), 0, width).astype(np.int32)
    right = np.clip(np.ceil(np.maximum(long_x, short_x) - 0.5), 0, width).astype(np.int32)
    columns_each = np.maximum(right - left, 0)
    start = row * width + left
    pixel = np.repeat(start, columns_each) + _counting(columns_each)
    shown[pixel] = np.repeat(face, columns_each)  # of a pixel named twice the last write stays


def _slope(dx: NDArray[np.float32], dy: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(dx / np.where(np.abs(dy) < 1e-6, 1e-6, dy), np.float32)


def _counting(lengths: NDArray[np.int32]) -> NDArray[np.int32]:
    """0, 1 … n - 1 for each length n, one after the other."""
    ends = np.cumsum(lengths, dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total, dtype=np.int32) - np.repeat((ends - lengths).astype(np.int32), lengths)


def _between(
    face: NDArray[np.int32],
    pixels: NDArray[np.int32],
    faces: NDArray[np.int32],
    at: NDArray[np.float32],
    values: NDArray[np.float32],
    width: int,
) -> NDArray[np.float32]:
    """The points' values at the pixels' centres, from the plane through each face's three corners."""
    a, b, c = (at[faces[:, k]] for k in range(3))
    first = values[faces[:, 0]]
    up, on = values[faces[:, 1]] - first, values[faces[:, 2]] - first
    (bx, by), (cx, cy) = (b - a).T[:, :, None], (c - a).T[:, :, None]
    area = bx * cy - cx * by
    # A face seen edge-on has no slope worth following: it gets its first corner's values.
    whole = np.where(np.abs(area) < 0.3, np.float32(np.inf), area)
    per_column = (up * cy - on * by) / whole
    per_row = (on * bx - up * cx) / whole
    # The plane's value at pixel (0, 0)'s centre and its two slopes, side by side: one fetch a pixel.
    level = first + per_column * (np.float32(0.5) - a[:, :1]) + per_row * (np.float32(0.5) - a[:, 1:])
    planes = np.take(np.concatenate([level, per_column, per_row], axis=1), face, axis=0)
    row = pixels // width
    count = values.shape[1]
    found: NDArray[np.float32] = planes[:, :count]
    found += planes[:, count : 2 * count] * (pixels - row * width).astype(np.float32)[:, None]
    found += planes[:, 2 * count :] * row.astype(np.float32)[:, None]
    return found
