"""Cuts a volume into pictures as radiologists hang them: the patient's right on the left of the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decaseg.geometry import Box, Float3, Int3, bounding_box, float3, int3
from decaseg.volume import Grid, Volume

HOUNSFIELD_AIR = -500  # nothing in MR is that low; where the minimum is lower, the image is CT
SOFT_TISSUE_HU = (-160.0, 240.0)
SAMPLED_VOXELS = 2_000_000


@dataclass(frozen=True)
class Plane:
    """One of the three ways to cut: the RAS axis that is fixed, and the letters at the picture's edges."""

    name: str
    axis: int
    left: str
    right: str
    top: str
    bottom: str

    @property
    def across(self) -> int:
        """The RAS axis that runs along the picture's rows."""
        return 1 if self.axis == 0 else 0

    @property
    def down(self) -> int:
        """The RAS axis that runs along the picture's columns."""
        return 1 if self.axis == 2 else 2


AXIAL = Plane("axial", 2, "R", "L", "A", "P")
CORONAL = Plane("coronal", 1, "R", "L", "S", "I")
SAGITTAL = Plane("sagittal", 0, "A", "P", "S", "I")
PLANES = (AXIAL, CORONAL, SAGITTAL)


@dataclass(frozen=True)
class Window:
    """The values shown as black and as white."""

    low: float
    high: float

    def grey(self, values: NDArray) -> NDArray[np.float32]:
        """Values as 0 (black) to 255 (white), clipped."""
        scaled = (values.astype(np.float32) - self.low) / max(self.high - self.low, 1e-9)
        grey: NDArray[np.float32] = np.nan_to_num(np.clip(scaled, 0, 1) * 255).astype(np.float32)
        return grey


@dataclass(frozen=True, eq=False)
class Scene:
    """What a picture shows, all in RAS order: axis 0 grows to the right, 1 to the front, 2 to the top.

    `image` (X, Y, Z) as stored, `prediction` and `truth` (X, Y, Z) uint8 label maps or no truth; `origin_mm` is the
    RAS place of voxel 0, `voxel_ml` one voxel's volume, `tilt_deg` how far the scan's axes lean from the patient's.
    """

    image: NDArray
    prediction: NDArray[np.uint8]
    truth: NDArray[np.uint8] | None
    spacing_mm: Float3
    origin_mm: Float3
    voxel_ml: float
    tilt_deg: float
    window: Window

    @property
    def shape(self) -> Int3:
        return int3(self.image.shape)

    @property
    def found(self) -> NDArray[np.bool_]:
        """True where truth or prediction has any structure."""
        mask: NDArray[np.bool_] = self.prediction > 0
        return mask if self.truth is None else mask | (self.truth > 0)

    def position_mm(self, axis: int, index: int) -> float:
        return self.origin_mm[axis] + index * self.spacing_mm[axis]

    def cropped(self, box: Box) -> Scene:
        a, b, c = box.slices
        origin = float3(self.position_mm(axis, box.start[axis]) for axis in range(3))
        truth = None if self.truth is None else self.truth[a, b, c]
        return Scene(self.image[a, b, c], self.prediction[a, b, c], truth, self.spacing_mm, origin,
                     self.voxel_ml, self.tilt_deg, self.window)  # fmt: skip


def upright(array: NDArray, grid: Grid) -> NDArray:
    """A view of a (X, Y, Z) array with its axes turned and flipped to run right, anterior, superior.

    Oblique scans keep their own axes, each under the nearest anatomical name.
    """
    axes = grid.axes
    order = [next(i for i, (world, _) in enumerate(axes) if world == wanted) for wanted in range(3)]
    turned = array.transpose(order)
    return turned[tuple(slice(None, None, axes[i][1]) for i in order)]


def cut(array: NDArray, plane: Plane, index: int) -> NDArray:
    """The picture (rows, columns) of an upright (X, Y, Z) array at `index` of the plane's axis.

    Row 0 is the top (anterior or superior), column 0 the left (the patient's right, or the front when sagittal):
    every axis left over grows away from the picture's corner, so both are flipped.
    """
    section: NDArray = np.take(array, index, axis=plane.axis)[::-1, ::-1].T
    return section


def make_scene(
    image: Volume, prediction: Volume, truth: Volume | None, labels: tuple[int, ...], channel: int = 0
) -> Scene:
    """The volumes turned upright, labels outside `labels` taken as background.

    A ValueError when they do not lie on the same grid, since a picture would lay one over the wrong place.
    """
    for name, other in (("prediction", prediction), ("truth", truth)):
        if other is None:
            continue
        if other.shape != image.shape:
            raise ValueError(f"{name}: has shape {other.shape}, its image {image.shape}; both must be on one grid")
        if _shift_mm(image.grid, other.grid) > 0.5 * min(image.spacing_mm):
            raise ValueError(f"{name}: its affine is not its image's; write label maps with the image's own affine")
    if not 0 <= channel < image.array.shape[0]:
        raise ValueError(f"channel {channel}: the image has channels 0 to {image.array.shape[0] - 1}")
    shown = image.array[channel]
    axes = image.grid.axes
    order = [next(i for i, (world, _) in enumerate(axes) if world == wanted) for wanted in range(3)]
    spacing = float3(image.spacing_mm[i] for i in order)
    corner = [0 if axes[i][1] > 0 else image.shape[i] - 1 for i in range(3)]  # the voxel that becomes (0, 0, 0)
    origin = float3((image.affine @ np.array([*corner, 1.0]))[:3])
    return Scene(
        upright(shown, image.grid),
        upright(_labels(prediction, labels), image.grid),
        None if truth is None else upright(_labels(truth, labels), image.grid),
        spacing,
        origin,
        image.grid.voxel_ml,
        tilt_deg(image.grid),
        robust_window(shown),
    )


def _shift_mm(grid: Grid, other: Grid) -> float:
    """How far apart two grids of one shape lay the corner that they disagree on most."""
    corners = np.array([(x, y, z, 1) for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=np.float64)
    corners[:, :3] *= np.array(grid.shape) - 1
    return float(np.linalg.norm((corners @ (grid.affine - other.affine).T)[:, :3], axis=1).max())


def _labels(volume: Volume, labels: tuple[int, ...]) -> NDArray[np.uint8]:
    table = np.zeros(256, np.uint8)
    table[list(labels)] = labels
    values = volume.array[0]
    values = np.rint(values) if values.dtype.kind == "f" else values
    known: NDArray[np.uint8] = table[np.where((values >= 0) & (values < 256), values, 0).astype(np.uint8)]
    return known


def tilt_deg(grid: Grid) -> float:
    """The largest angle between an array axis and the anatomical axis it is named after, in degrees."""
    cosines = np.abs(grid.affine[:3, :3]) / np.maximum(np.array(grid.spacing_mm), 1e-12)
    along = [cosines[world, axis] for axis, (world, _) in enumerate(grid.axes)]
    return float(np.degrees(np.arccos(np.clip(min(along), -1, 1))))


def robust_window(values: NDArray) -> Window:
    """Percentiles 0.5 to 99.5 of the voxels that are not zero; CT gets a soft-tissue window instead."""
    step = max(1, round((values.size / SAMPLED_VOXELS) ** (1 / 3)))
    sample = values[::step, ::step, ::step]
    sample = sample[np.isfinite(sample)]
    if sample.size and sample.min() <= HOUNSFIELD_AIR:
        return Window(*SOFT_TISSUE_HU)
    inside = sample[sample != 0]
    if inside.size == 0:
        return Window(0.0, 1.0)
    low, high = np.percentile(inside, [0.5, 99.5])
    if high <= low:
        low, high = min(0.0, float(low)), max(1.0, float(high))
    return Window(float(low), float(high))


def body_box(scene: Scene, margin_mm: float = 4.0) -> Box:
    """The box round everything that is not dark and every structure, a few millimetres wider."""
    dark = scene.window.low + 0.05 * (scene.window.high - scene.window.low)
    lit = np.asarray(scene.image > dark)
    # One noisy voxel must not widen the picture: a slice counts when 1 in 200 of its voxels is lit.
    start, stop = [], []
    for axis in range(3):
        share = lit.mean(axis=tuple(i for i in range(3) if i != axis))
        rows = np.flatnonzero(share > 0.005)
        start.append(int(rows[0]) if rows.size else 0)
        stop.append(int(rows[-1]) + 1 if rows.size else scene.shape[axis])
    found = bounding_box(scene.found)
    if found is not None:
        start = [min(a, b) for a, b in zip(start, found.start, strict=True)]
        stop = [max(a, b) for a, b in zip(stop, found.stop, strict=True)]
    pad = [round(margin_mm / s) for s in scene.spacing_mm]
    return Box(
        int3(max(0, a - p) for a, p in zip(start, pad, strict=True)),
        int3(min(n, b + p) for b, p, n in zip(stop, pad, scene.shape, strict=True)),
    )


def telling_index(scene: Scene, plane: Plane) -> int:
    """The slice with most truth; without truth, with most prediction; without either, the middle one."""
    others = tuple(i for i in range(3) if i != plane.axis)
    for mask in (scene.truth, scene.prediction):
        if mask is not None and mask.any():
            return int(np.argmax((mask > 0).sum(axis=others)))
    return scene.shape[plane.axis] // 2


def spread_indices(scene: Scene, plane: Plane, most: int) -> list[int]:
    """At most `most` slices, evenly spread over the structures; over everything where there are none."""
    found = bounding_box(scene.found)
    first, last = (found.start[plane.axis], found.stop[plane.axis] - 1) if found else (0, scene.shape[plane.axis] - 1)
    return sorted({round(float(i)) for i in np.linspace(first, last, most)})
