"""Turns masks into smooth, shaded-ready surfaces in millimetres, and finds the body that surrounds a structure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decaseg.geometry import Box, Float3, bounding_box, float3, int3
from decaseg.reporting.extras import need
from decaseg.reporting.look import CONFUSED, FALSE_POSITIVE, MISSED, RIGHT
from decaseg.reporting.planes import HOUNSFIELD_AIR, Scene

FINEST_MM, MOST_CELLS = 0.4, 110  # a structure's mesh: cells no finer, and no more of them along its longest edge
BLUR_VOXELS, PAD = 1.0, 3
ERROR_LEVEL, SPECK_VOXELS = 0.6, 30
SHELL_CELLS = 112  # the body's mesh is coarser: it is seen through
CT_SKIN_HU = -300.0
CROP_SHARE = 0.3  # where more of the volume's faces lies inside the body, the volume is a crop without an outside


@dataclass(frozen=True, eq=False)
class Surface:
    """Triangles: `points` (N, 3) in mm along RAS axes, unit `normals` (N, 3) outwards, `faces` (M, 3) indices.

    `openness` (N,) is 1 where a point sees much of its surroundings and falls towards 0 in folds: the cheapest
    ambient occlusion there is, from how full the blurred neighbourhood is.
    """

    points: NDArray[np.float32]
    normals: NDArray[np.float32]
    faces: NDArray[np.int32]
    openness: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Body:
    """What surrounds the structures: `brain` (skull-stripped), `head or trunk`, or `crop`, which has no surface."""

    kind: str
    surface: Surface | None


def verdict_surfaces(scene: Scene, labels: Collection[int]) -> dict[int, Surface]:
    """A surface a verdict that occurs: what is right, false positive, missed, or called another structure.

    They are cut out of one smooth border of the prediction and one of the truth, so that they meet without gaps.
    Without truth the result is empty.
    """
    if scene.truth is None or not scene.found.any():
        return {}
    box = _widened(scene)
    truth, prediction = scene.truth[box.slices], scene.prediction[box.slices]
    mesher = _Mesher.of(scene, box)
    predicted, true = mesher.soft(prediction > 0), mesher.soft(truth > 0)
    both = np.minimum(predicted, true)
    right = both
    if len(labels) > 1:
        pairs = (np.minimum(mesher.soft(prediction == k), mesher.soft(truth == k)) for k in labels)
        right = np.maximum.reduce([*pairs])
    fields = {
        RIGHT: right,
        FALSE_POSITIVE: np.minimum(predicted, 1 - true),
        MISSED: np.minimum(true, 1 - predicted),
    }
    if len(labels) > 1:
        fields[CONFUSED] = np.minimum(both, 1 - right)
    # Where both borders agree, an error is a sheet without thickness: a little more than a half leaves it out.
    made = {
        verdict: mesher.contour(field, 0.5 if verdict == RIGHT else ERROR_LEVEL) for verdict, field in fields.items()
    }
    return {verdict: surface for verdict, surface in made.items() if surface is not None}


def label_surfaces(scene: Scene, label_map: NDArray[np.uint8]) -> dict[int, Surface]:
    """A surface a label value that occurs in a label map on the scene's grid."""
    if not label_map.any():
        return {}
    box = _widened(scene)
    part = label_map[box.slices]
    mesher = _Mesher.of(scene, box)
    made = {int(v): mesher.contour(mesher.soft(part == v)) for v in np.unique(part) if v}
    return {value: surface for value, surface in made.items() if surface is not None}


def _widened(scene: Scene, margin: int = 2) -> Box:
    found = bounding_box(scene.found)
    assert found is not None
    return Box(
        int3(max(0, a - margin) for a in found.start),
        int3(min(n, b + margin) for b, n in zip(found.stop, scene.shape, strict=True)),
    )


@dataclass(frozen=True)
class _Mesher:
    """Makes soft masks of parts of one box of a scene, and surfaces out of them."""

    spacing_mm: Float3
    origin_mm: Float3
    step_mm: float

    @classmethod
    def of(cls, scene: Scene, box: Box) -> _Mesher:
        extent = max(n * s for n, s in zip(box.shape, scene.spacing_mm, strict=True))
        step = max(FINEST_MM, min(scene.spacing_mm), extent / MOST_CELLS)
        origin = float3(scene.position_mm(a, box.start[a]) - PAD * scene.spacing_mm[a] for a in range(3))
        return cls(scene.spacing_mm, origin, step)

    def soft(self, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        """The mask blurred, above a half where it is set even where it is a speck."""
        hard = np.pad(mask, PAD).astype(np.float32)
        sigma = [max(BLUR_VOXELS, 0.7 * self.step_mm / s) for s in self.spacing_mm]
        ndimage = need("scipy.ndimage")
        soft: NDArray[np.float32] = ndimage.gaussian_filter(hard, sigma, truncate=3.0)
        numbered, count = ndimage.label(hard)
        if count > 1:
            speck = np.bincount(numbered.ravel()) <= SPECK_VOXELS
            np.maximum(soft, 0.7 * speck[numbered], out=soft)
        return soft

    def contour(self, field: NDArray[np.float32], level: float = 0.5) -> Surface | None:
        even, spacing = _even(field, self.spacing_mm, self.step_mm)
        return _contour(even, level, spacing, self.origin_mm, fold_mm=3.0 * self.step_mm)


def find_body(scene: Scene) -> Body:
    """The surface of the brain, where the image is skull-stripped, else of the head or trunk; none for a crop."""
    ndimage = need("scipy.ndimage")
    extent = max(n * s for n, s in zip(scene.shape, scene.spacing_mm, strict=True))
    step = max(extent / SHELL_CELLS, min(scene.spacing_mm))
    every = [max(1, int(step / s + 0.01)) for s in scene.spacing_mm]
    coarse = np.nan_to_num(scene.image[:: every[0], :: every[1], :: every[2]].astype(np.float32))
    spacing = float3(s * e for s, e in zip(scene.spacing_mm, every, strict=True))
    stripped = is_stripped(coarse)
    mask = _largest(coarse != _ground(coarse) if stripped else coarse > _skin(coarse))
    faces = [mask.take(end, axis=axis).mean() for axis in range(3) for end in (0, -1)]
    if not mask.any() or float(np.mean(faces)) > CROP_SHARE:
        return Body("crop", None)
    origin = float3(scene.position_mm(a, 0) - PAD * spacing[a] for a in range(3))
    solid = np.pad(ndimage.binary_fill_holes(mask), PAD).astype(np.float32)
    if stripped:
        # Sulci are dark in the image: letting them dent the mask brings the folds of the cortex out.
        bright = np.clip((coarse / max(float(np.median(coarse[mask])), 1e-6) - 0.25) / 0.6, 0.0, 1.0)
        solid *= np.pad(np.where(mask, bright, 1.0), PAD, constant_values=1.0)
    # A head's features are blurred away: a patient must not be known by the picture.
    blur_mm = (0.75 if stripped else 2.5) * step
    solid = ndimage.gaussian_filter(solid, [blur_mm / s for s in spacing], truncate=3.0)
    even, cells = _even(solid, spacing, step)
    surface = _contour(even, 0.5, cells, origin, fold_mm=3.0 * step)
    return Body("brain" if stripped else "head or trunk", surface)


def is_stripped(values: NDArray) -> bool:
    """Whether a quarter of a volume is exactly the background's value, as after skull stripping; CT never is."""
    ground = _ground(values)
    return bool(ground > HOUNSFIELD_AIR and float((values == ground).mean()) > 0.25)


def _ground(values: NDArray) -> float:
    """The value of most corners."""
    return float(np.median(values[np.ix_([0, -1], [0, -1], [0, -1])]))


def _skin(values: NDArray[np.float32]) -> float:
    """The value between air and tissue: fixed for CT, Otsu's for the rest."""
    if values.min() <= HOUNSFIELD_AIR:
        return CT_SKIN_HU
    counts, edges = np.histogram(np.clip(values, *np.percentile(values, [0, 99.5])), 128)
    middles = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * middles)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.nan_to_num(below * above * (sums / below - (sums[-1] - sums) / above) ** 2)
    best = np.flatnonzero(spread >= spread.max() * (1 - 1e-6))  # an empty gap between the two is a plateau
    cut = (int(best[0]) + int(best[-1])) // 2
    # Otsu's threshold may part bright from dark tissue; a third of the way up from air parts air from both.
    air = float(sums[cut] / max(below[cut], 1))
    return air + (float(middles[cut]) - air) / 3


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    numbered, count = need("scipy.ndimage").label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(numbered.ravel())
    sizes[0] = 0
    largest: NDArray[np.bool_] = numbered == sizes.argmax()
    return largest


def _even(field: NDArray[np.float32], spacing_mm: Float3, step_mm: float) -> tuple[NDArray[np.float32], Float3]:
    """The field on cells of about `step_mm` along every axis; thick slices get cells between them."""
    shape = [max(4, round((n - 1) * s / step_mm) + 1) for n, s in zip(field.shape, spacing_mm, strict=True)]
    length_mm = [(n - 1) * s for n, s in zip(field.shape, spacing_mm, strict=True)]
    if shape != list(field.shape):
        factors = [m / n for m, n in zip(shape, field.shape, strict=True)]
        field = need("scipy.ndimage").zoom(field, factors, order=1, grid_mode=False)
    return field, float3(length / (n - 1) for length, n in zip(length_mm, field.shape, strict=True))


def _contour(
    field: NDArray[np.float32], level: float, spacing_mm: Float3, origin_mm: Float3, fold_mm: float
) -> Surface | None:
    if not field.min() < level < field.max():
        return None
    ndimage = need("scipy.ndimage")
    march = need("skimage.measure").marching_cubes
    points, faces, normals, _ = march(field, level, spacing=spacing_mm, gradient_direction="descent")
    at = (points / np.array(spacing_mm)).T
    wide = ndimage.gaussian_filter(np.minimum(field / level, 1.0), [fold_mm / s for s in spacing_mm], truncate=2.5)
    full = ndimage.map_coordinates(wide, at, order=1, mode="nearest")
    openness = np.clip(1.0 - 1.9 * (full - 0.45), 0.15, 1.0)
    normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    placed = points + np.array(origin_mm)
    return Surface(
        placed.astype(np.float32), normals.astype(np.float32), faces.astype(np.int32), openness.astype(np.float32)
    )
