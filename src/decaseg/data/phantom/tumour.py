"""A glioma: its core, its enhancing rim, the oedema round it, and how it pushes the brain aside.

The labels are MSD Task01's (BraTS, Menze et al., IEEE TMI 2015): 1 oedema, 2 non-enhancing tumour with necrosis,
3 enhancing tumour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from decaseg.data.phantom.anatomy import Head, Mask, Tissues
from decaseg.data.phantom.frame import Array, Frame, fractal_noise, smooth_noise
from decaseg.data.phantom.front import arrival_time
from decaseg.data.phantom.template import Template
from decaseg.geometry import Box, bounding_box

EDEMA, NON_ENHANCING, ENHANCING = 1, 2, 3
SPEED = {"wm": 1.0, "gm": 0.08, "csf": 0.012}  # oedema follows white matter: Clatz et al., IEEE TMI 2005, use 10 to 1
REACH_MM = 46.0  # oedema ends there at the latest


@dataclass(frozen=True)
class Character:
    """What kind of tumour this is, drawn before any voxel. Volumes in ml, lengths in mm.

    `infiltrates`: how freely it spreads in cortex, 0 (oedema, which keeps to white matter) to 1 (as in white matter).
    """

    core_ml: float
    edema_ml: float
    lobes: int
    roughness: float
    rim_mm: float
    enhances: bool
    gap: float
    mass_effect: float
    satellite: bool
    infiltrates: float = 0.0


@dataclass(frozen=True, eq=False)
class Tumour:
    """labels: (X, Y, Z) uint8. edema_time: 0 at the core, 1 at the oedema's edge, more beyond."""

    labels: np.ndarray
    edema_time: Array


def draw_character(rng: np.random.Generator, enhances: bool) -> Character:
    core_ml = float(np.exp(rng.uniform(np.log(4.5), np.log(62))))
    return Character(
        core_ml=core_ml,
        edema_ml=float(np.clip(np.exp(rng.uniform(np.log(16), np.log(95))), 12 + 0.4 * core_ml, 110)),
        lobes=int(rng.integers(1, 5)),
        roughness=float(rng.uniform(0.5, 1.2)),
        rim_mm=float(rng.uniform(2.4, 5.0)),
        enhances=enhances,
        gap=float(rng.uniform(-2.2, 0.2)),
        mass_effect=float(rng.uniform(0.35, 0.75)),
        satellite=bool(rng.random() < 0.25),
    )


def draw_core(
    template: Template,
    head: Head,
    character: Character,
    rng: np.random.Generator,
    where: str = "usual",
    loose: bool = False,
) -> Array:
    """Signed distance-like field (mm), positive inside the core, of exactly the volume that the character asks for.

    `where` it begins: `usual`, where gliomas mostly do, or one of `PLACES`. `loose`: falx and skull hold it less, so
    that it may reach the surface and cross the middle.
    """
    frame = head.frame
    seed = _begin(template, rng) if where == "usual" else PLACES[where](head, rng)
    middle = _voxel_of(head, seed)
    radius = float(np.cbrt(3 * character.core_ml * 1000 / (4 * np.pi)))
    world = frame.world_mm()
    centre = world[:, *middle]
    field = np.full(frame.shape, -np.inf, np.float32)
    for lobe in range(character.lobes):
        offset = rng.normal(0, 1, 3)
        offset *= rng.uniform(0.45, 0.9) * radius / np.linalg.norm(offset) * (lobe > 0)
        size = rng.uniform(0.55, 1.0) * radius if lobe else radius
        stretch = np.exp(rng.normal(0, 0.16, 3))
        away = (world - (centre + offset).reshape(3, 1, 1, 1)) * stretch.reshape(3, 1, 1, 1)
        distance = np.sqrt((away**2).sum(axis=0))
        field = _smooth_max(field, (size - distance).astype(np.float32), 0.12 * radius)
    noise = fractal_noise(rng, frame, max(9.0, 0.9 * radius), 4)
    field = field + np.float32(0.2 * radius * character.roughness) * noise
    # The falx holds a tumour on its side; the skull and the brain's surface hold all.
    side = np.float32(np.sign(seed[0]))
    falx, skull = (rng.uniform(0, 2), max(0.0, rng.uniform(-2, 2))) if loose else (2, 4)
    field -= falx * np.maximum(0, 3 - side * head.template_mm[0]) + skull * np.maximum(0, 3 - head.depth_mm)
    field[~head.brain] = -np.inf
    count = max(8, round(character.core_ml / frame.voxel_ml))
    level = np.partition(field, field.size - count, axis=None)[field.size - count]
    return np.asarray(field - level, np.float32)


def _begin(template: Template, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(template.seeds_mm[rng.choice(len(template.seeds_mm), p=template.seed_odds)])


def _begin_anywhere(head: Head, rng: np.random.Generator) -> np.ndarray:
    """The template's point (3,) of a voxel drawn from all that lie 5 mm deep or more."""
    return _drawn(head, head.depth_mm >= 5, rng)


def _begin_near_surface(head: Head, rng: np.random.Generator) -> np.ndarray:
    """The same, 4 to 14 mm deep."""
    return _drawn(head, (head.depth_mm >= 4) & (head.depth_mm <= 14), rng)


def _begin_in_pole(head: Head, rng: np.random.Generator) -> np.ndarray:
    """The same, low in a temporal lobe: beside the stem and before the cerebellum."""
    x, y, z = np.abs(head.template_mm[0]), head.template_mm[1], head.template_mm[2]
    return _drawn(head, (head.depth_mm >= 5) & (z < -16) & (y > -18) & (x > 22), rng)


def _drawn(head: Head, inside: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(head.template_mm.reshape(3, -1)[:, rng.choice(np.flatnonzero(inside))], np.float64)


PLACES = {"anywhere": _begin_anywhere, "surface": _begin_near_surface, "poles": _begin_in_pole}


def mass_effect(head: Head, core: Array, character: Character, rng: np.random.Generator) -> Array:
    """How far each voxel's tissue has been pushed, (3, X, Y, Z) mm: most at the core's edge, nothing at the skull."""
    frame = head.frame
    inside = core > 0
    radius = float(np.cbrt(3 * inside.sum() * frame.spacing_mm**3 / (4 * np.pi)))
    world = frame.world_mm()
    centre = world[:, inside].mean(axis=1).reshape(3, 1, 1, 1)
    away = world - centre
    r = np.sqrt((away**2).sum(axis=0)) + 1e-3
    push = character.mass_effect * radius
    reach = max(26.0, 2.2 * push)  # longer than the push, so that space never folds
    size = push * np.minimum(r / radius, np.exp(-np.maximum(r - radius, 0) / reach))
    size *= np.clip(head.depth_mm / 14, 0, 1) * (1 + 0.15 * smooth_noise(rng, frame, 30.0))
    return np.asarray(away / r * size, np.float32)


def draw_tumour(head: Head, tissues: Tissues, core: Array, character: Character, rng: np.random.Generator) -> Tumour:
    """Labels the core, its rim and the oedema in the brain that the tumour has already deformed."""
    frame = head.frame
    core_mask = _kept((core > 0) & ~((tissues.ventricle_mm < -1) & (tissues.csf > 0.6)), frame, 0.3)
    noise = fractal_noise(rng, frame, 14.0, 3)
    edema, time = _edema(head, tissues, core_mask, character, noise)
    if character.satellite:
        second = _satellite(frame, tissues, time, core_mask, rng)
        core_mask = core_mask | second
        edema &= ~second
    depth = _depth(core_mask, frame.spacing_mm)
    labels = np.zeros(frame.shape, np.uint8)
    labels[edema] = EDEMA
    labels[core_mask] = NON_ENHANCING
    if character.enhances:
        labels[_rim(frame, core_mask, depth, character, rng)] = ENHANCING
    return Tumour(labels, time)


def _edema(head: Head, tissues: Tissues, core: Mask, character: Character, noise: Array) -> tuple[Mask, Array]:
    """The oedema and its arrival time, 1 at its edge; at least the volume asked for while tissue lasts."""
    frame = head.frame
    box = _round(core, frame, REACH_MM)
    gm, wm, csf = (a[box.slices] for a in (tissues.gm, tissues.wm, tissues.csf))
    # Squares: a voxel half grey, half white is cortex to the oedema, not half a road.
    cortex = SPEED["gm"] + character.infiltrates * (SPEED["wm"] - SPEED["gm"])
    speed = SPEED["wm"] * wm**2 + cortex * gm + SPEED["csf"] * csf
    speed = speed * np.exp(0.55 * noise[box.slices]) * head.brain[box.slices]
    # From one hemisphere to the other only through the corpus callosum: the falx is in the way elsewhere.
    falx = (np.abs(tissues.midline_mm[box.slices]) < max(2.2, 1.1 * frame.spacing_mm)) & (wm < 0.55)
    speed = np.where(falx, 0.02 * SPEED["gm"], speed)
    steps = int(1.25 * REACH_MM / frame.spacing_mm)
    local = arrival_time(speed.astype(np.float32), core[box.slices], frame.spacing_mm, steps)
    soaks = head.brain[box.slices] & (csf < 0.5) & ~core[box.slices]
    times = np.sort(local[soaks])
    count = min(times.size - 1, round(character.edema_ml / frame.voxel_ml))
    edge = times[count]
    time = np.full(frame.shape, np.inf, np.float32)
    time[box.slices] = local / max(float(edge), 1e-3)
    edema = np.zeros(frame.shape, bool)
    edema[box.slices] = soaks & (local < edge)
    return edema, time


def _rim(frame: Frame, core: Mask, depth: Array, character: Character, rng: np.random.Generator) -> Mask:
    """A shell of varying thickness, here and there broken, here and there nodular, sometimes below the surface."""
    thickness = character.rim_mm * np.exp(0.45 * smooth_noise(rng, frame, 9.0))
    thickness = np.minimum(thickness, 0.55 * depth.max())
    gaps = smooth_noise(rng, frame, 16.0)
    sunk = np.maximum(0, 2.5 * smooth_noise(rng, frame, 20.0) - 1.5)
    shell = core & (depth >= sunk) & (depth < sunk + thickness)
    if shell.any():  # two thirds of it stay, whatever the gaps
        shell &= gaps > min(character.gap, float(np.quantile(gaps[shell], 0.33)))
    nodules = (fractal_noise(rng, frame, 8.0, 2) > 1.25) & (depth < 3 * thickness)
    # Smoothed: a break of half a millimetre is no break, a single voxel no enhancement that a reader would mark.
    rough = (core & (shell | nodules)).astype(np.float32)
    smooth = ndimage.gaussian_filter(rough, 1.2 / frame.spacing_mm)
    rim = _kept(core & (smooth > 0.36), frame, 0.15)
    if not rim.any():  # all gap: keep the shell whole
        rim = core & (depth < thickness)
    return rim


def _satellite(frame: Frame, tissues: Tissues, time: Array, core: Mask, rng: np.random.Generator) -> Mask:
    """A second, small focus in the white matter of the outer oedema; empty where there is no room."""
    places = np.argwhere((time > 0.35) & (time < 0.8) & (tissues.wm > 0.7))
    if len(places) == 0:
        return np.zeros_like(core)
    centre = places[rng.integers(len(places))]
    index = np.indices(frame.shape, dtype=np.float32) - centre.reshape(3, 1, 1, 1)
    distance = np.sqrt((index**2).sum(axis=0)) * frame.spacing_mm
    blob = distance + 1.5 * smooth_noise(rng, frame, 7.0) < rng.uniform(5.0, 8.0)
    return _kept(blob & ~core & (tissues.csf < 0.5) & (tissues.depth_mm > 3), frame, 0.3)


def _depth(core: Mask, spacing_mm: float) -> Array:
    """Distance from the core's surface to each voxel centre inside it, mm; 0 outside."""
    box = bounding_box(core)
    assert box is not None
    box = box.grown(1, core.shape)
    depth = np.zeros(core.shape, np.float32)
    depth[box.slices] = ndimage.distance_transform_edt(core[box.slices]) * spacing_mm
    return np.asarray(np.maximum(depth - np.float32(spacing_mm / 2), 0), np.float32)


def _kept(mask: Mask, frame: Frame, least_ml: float) -> Mask:
    """The mask without pieces below `least_ml`; its biggest piece always stays."""
    pieces, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(pieces.ravel())[1:]
    keep = sizes * frame.voxel_ml >= least_ml
    keep[np.argmax(sizes)] = True
    kept: Mask = np.concatenate([[False], keep])[pieces]
    return kept


def _round(mask: Mask, frame: Frame, margin_mm: float) -> Box:
    box = bounding_box(mask)
    assert box is not None
    return box.grown(round(margin_mm / frame.spacing_mm), mask.shape)


def _voxel_of(head: Head, point_mm: np.ndarray) -> tuple[int, int, int]:
    """The voxel that shows a point of the template."""
    away = ((head.template_mm - point_mm.reshape(3, 1, 1, 1)) ** 2).sum(axis=0)
    x, y, z = np.unravel_index(int(np.argmin(away)), away.shape)
    return int(x), int(y), int(z)


def _smooth_max(a: Array, b: Array, width: float) -> Array:
    """max(a, b) with its crease rounded over `width` (Quilez's polynomial smooth minimum, negated)."""
    overlap = np.maximum(width - np.abs(a - b), 0) / width
    return np.asarray(np.maximum(a, b) + overlap**2 * width / 4, np.float32)
