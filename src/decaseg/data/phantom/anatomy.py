"""One person's brain: the template bent, folded and aged at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from decaseg.data.phantom.frame import Array, Frame, fractal_noise, smooth_noise
from decaseg.data.phantom.template import Template

Mask = NDArray[np.bool_]
CENTRE_MM = (0.0, -18.0, 8.0)  # about the middle of the MNI152 brain


@dataclass(frozen=True, eq=False)
class Head:
    """A person before the tissues are drawn, on the frame, without a tumour.

    template_mm: (3, X, Y, Z), the template's point that each voxel shows. brain: inside the skull. depth_mm: from the
    brain's hull inwards. sulci: 0 at the floor of a sulcus, about 1 in the middle of a gyrus. jitter: (3, X, Y, Z),
    the person's own departures from the average tissue borders (grey, white, CSF).
    """

    frame: Frame
    template_mm: Array
    brain: Mask
    depth_mm: Array
    sulci: Array
    jitter: Array
    ventricle_growth_mm: float
    atrophy: float


@dataclass(frozen=True, eq=False)
class Tissues:
    """Tissue fractions that sum to 1 in the brain, (X, Y, Z), with what the contrast needs besides them.

    t1_texture: what the template's T1 shows beyond its fractions, as in the deep nuclei. ventricle_mm: signed distance
    to the ventricles. depth_mm: below the hull. midline_mm: to the right of the plane between the hemispheres.
    """

    gm: Array
    wm: Array
    csf: Array
    t1_texture: Array
    ventricle_mm: Array
    depth_mm: Array
    midline_mm: Array


def draw_head(template: Template, frame: Frame, rng: np.random.Generator, size: float = 1.0) -> Head:
    """A head of its own size (`size` times the template's, more or less), shape, folding, ventricles and age."""
    points = _warped(frame, rng, size)
    # Skull stripping is never even: it leaves more of the subarachnoid space here, less there.
    uneven = np.clip(0.05 * smooth_noise(rng, frame, 9.0) + 0.12 * smooth_noise(rng, frame, 28.0), -0.2, 0.3)
    rough = template.sample("brain", points) + uneven > 0.54
    pockets = ndimage.gaussian_filter(rough.astype(np.float32), 4.0 / frame.spacing_mm) > 0.5
    brain = _largest(rough | pockets)
    depth = ndimage.distance_transform_edt(brain).astype(np.float32) * np.float32(frame.spacing_mm)
    return Head(
        frame=frame,
        template_mm=points,
        brain=brain,
        depth_mm=depth,
        sulci=_sulci(frame, rng),
        jitter=np.stack([fractal_noise(rng, frame, 7.0, 2) for _ in range(3)]),
        ventricle_growth_mm=float(rng.uniform(-1.2, 2.6)),
        atrophy=float(rng.uniform(-0.2, 1.6)),
    )


def draw_tissues(template: Template, head: Head, shift_mm: Array | None = None) -> Tissues:
    """The head's tissues where `shift_mm` (3, X, Y, Z) says how far each voxel's tissue has come from its old place."""
    brain = head.brain  # from here on (N,) arrays of the brain's voxels: a third of the frame, a third of the time
    where = np.stack(np.nonzero(brain)).astype(np.float32)
    if shift_mm is not None:
        where -= shift_mm[:, brain] / np.float32(head.frame.spacing_mm)
    points = np.stack([_at(field, where) for field in head.template_mm])
    depth = _at(head.depth_mm, where)
    gm, wm, csf = (template.sample(name, points) for name in ("gm", "wm", "csf"))
    ventricle_mm = template.sample("ventricle_mm", points)
    texture = template.sample("t1", points) - (0.85 * gm + wm + 0.3 * csf)
    freedom = 0.15 + 0.85 * np.exp(-((depth / 18) ** 2))  # deep nuclei vary less than folds between people
    logits = [
        np.log(average + 0.03) / 0.55 + 0.8 * freedom * _at(jitter, where)
        for average, jitter in zip((gm, wm, csf), head.jitter, strict=True)
    ]
    cortex = np.exp(-((depth / 15) ** 2)) * cerebrum(points)
    gyrus = np.clip(_at(head.sulci, where), 0, 1.6)
    logits[0] += cortex * 0.8 * np.exp(-(((gyrus - 0.4) / 0.3) ** 2))
    logits[1] += cortex * 2.8 * (gyrus - 0.68)
    logits[2] += cortex * (3.2 * np.exp(-((gyrus / 0.24) ** 2)) - 1.2 + head.atrophy)
    growth = 1 / (1 + np.exp((ventricle_mm - head.ventricle_growth_mm) / 0.9))
    # The fissure between the hemispheres is always there; the average of 152 people only half shows it.
    logits[2] += 3.0 * np.exp(-((points[0] / 1.6) ** 2)) * (csf > 0.02) * (ventricle_mm > 4)
    logits[2] += 9 * (growth - 0.5) * np.exp(-((ventricle_mm / 6) ** 2)) * (ventricle_mm < 6)
    top = np.maximum(np.maximum(logits[0], logits[1]), logits[2])
    weights = [np.exp(value - top) for value in logits]
    total = weights[0] + weights[1] + weights[2]
    gm, wm, csf = (_spread(weight / total, brain) for weight in weights)
    return Tissues(
        gm,
        wm,
        csf,
        t1_texture=_spread(texture, brain),
        ventricle_mm=_spread(ventricle_mm, brain, outside=40),
        depth_mm=_spread(depth, brain),
        midline_mm=_spread(points[0], brain),
    )


def cerebrum(points_mm: Array) -> Array:
    """1 above the tentorium, 0 in cerebellum and stem; the tentorium slopes down from front to back."""
    height = points_mm[2] + 22 - 0.45 * np.maximum(0, -38 - points_mm[1])
    return np.asarray(1 / (1 + np.exp(-height / 3)), np.float32)


def _spread(values: Array, brain: Mask, outside: float = 0) -> Array:
    """The brain's values (N,) back on the frame, (X, Y, Z)."""
    full = np.full(brain.shape, outside, np.float32)
    full[brain] = values
    return full


def _warped(frame: Frame, rng: np.random.Generator, size: float) -> Array:
    """Template coordinates of every voxel: turned, scaled and smoothly bent, (3, X, Y, Z) mm.

    The bends' steepest slopes stay well under 1, so that space never folds.
    """
    centre = np.asarray(CENTRE_MM, np.float32).reshape(3, 1, 1, 1)
    points = frame.world_mm() - centre
    turn = _rotation(rng.normal(0, np.deg2rad(2.5), 3))
    scale = 1 / (size * rng.normal(0.99, 0.025) * (1 + rng.normal(0, 0.02, 3)))
    matrix = (turn * scale).astype(np.float32)
    moved = np.stack([sum(matrix[i, j] * points[j] for j in range(3)) for i in range(3)])
    for grain_mm, size_mm in ((64.0, 2.2), (26.0, 1.1), (13.0, 0.6)):
        moved += np.float32(size_mm) * np.stack([smooth_noise(rng, frame, grain_mm) for _ in range(3)])
    return (moved + centre).astype(np.float32)


def _rotation(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    product: NDArray[np.float64] = about_x @ about_y @ about_z
    return product


def _sulci(frame: Frame, rng: np.random.Generator) -> Array:
    """Folds: |noise| is 0 on winding sheets, which drop from the surface inwards as sulci do.

    The noise is looked up on a shell round the brain's middle, so that it hardly changes along the radius.
    """
    noise = smooth_noise(rng, frame, 9.0)
    wobble = np.stack([smooth_noise(rng, frame, 18.0) for _ in range(3)]) * np.float32(3)
    from_centre = frame.world_mm() - np.asarray(CENTRE_MM, np.float32).reshape(3, 1, 1, 1)
    radius = np.sqrt((from_centre**2).sum(axis=0)) + 1e-3
    shell = from_centre * (62 + 0.25 * (radius - 62)) / radius + wobble
    where = frame.index_of(shell + np.asarray(CENTRE_MM, np.float32).reshape(3, 1, 1, 1))
    return np.abs(_at(noise, where))


def _at(field: Array, where: Array) -> Array:
    found: Array = ndimage.map_coordinates(field, where, order=1, mode="nearest", output=np.float32)
    return found


def _largest(mask: Mask) -> Mask:
    """The biggest connected piece, without holes."""
    pieces, count = ndimage.label(mask)
    if count > 1:
        mask = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])
    filled: Mask = ndimage.binary_fill_holes(mask)
    return filled
