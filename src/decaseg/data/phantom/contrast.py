"""What each sequence shows of each tissue, in units of normal white matter's signal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from decaseg.data.phantom.anatomy import Mask, Tissues
from decaseg.data.phantom.frame import Array, Frame, fractal_noise, smooth_noise
from decaseg.data.phantom.tumour import ENHANCING, NON_ENHANCING, Tumour

# Relative signals as clinical 1.5 T and 3 T protocols show them; each case draws its own round these.
SIGNAL = {
    "FLAIR": {"gm": 1.16, "csf": 0.28, "edema": 1.66, "core": 1.38, "rim": 1.42, "texture": -0.15},
    "T1w": {"gm": 0.80, "csf": 0.34, "edema": 0.69, "core": 0.58, "rim": 0.72, "texture": 0.55},
    "t1gd": {"gm": 0.84, "csf": 0.36, "edema": 0.71, "core": 0.52, "rim": 1.85, "texture": 0.45},
    "T2w": {"gm": 1.28, "csf": 2.60, "edema": 2.00, "core": 2.15, "rim": 1.65, "texture": -0.45},
}
CHANNELS = tuple(SIGNAL)


@dataclass(frozen=True, eq=False)
class Scene:
    """All that the four sequences share: how much of each thing a voxel holds, 0 to 1, (X, Y, Z)."""

    tissues: Tissues
    brain: Mask
    edema: Array
    core: Array
    rim: Array
    lesions: Array
    vessels: Array
    choroid: Array
    necrosis: Array
    blood: Array
    texture: Array


def draw_scene(
    frame: Frame,
    brain: Mask,
    tissues: Tissues,
    tumour: Tumour,
    rng: np.random.Generator,
    fade: float = 0.07,
    cortex: float = 0.62,
) -> Scene:
    """The shared structure: soft-edged tumour parts, benign bright spots, vessels, texture.

    `fade`: over which share of its reach the oedema ends. `cortex`: how wet it makes cortex, white matter being 1.
    """
    labels = tumour.labels
    wet = 1 / (1 + np.exp(np.clip((tumour.edema_time - 0.97) / fade, -30, 30)))
    strength = 0.72 + 0.28 * np.clip(1 - tumour.edema_time, 0, 1) + 0.1 * fractal_noise(rng, frame, 10.0, 3)
    share = tissues.wm + cortex * tissues.gm  # cortex swells less and shows through
    edema = np.where(labels >= NON_ENHANCING, 1.0, np.clip(wet * strength * share, 0, 1.2))
    soft = 0.42 if frame.spacing_mm >= 1.5 else 0.6  # voxels; borders of tissue are not steps
    core = ndimage.gaussian_filter((labels >= NON_ENHANCING).astype(np.float32), soft)
    rim = ndimage.gaussian_filter((labels == ENHANCING).astype(np.float32), soft)
    rim *= np.clip(1 + 0.33 * fractal_noise(rng, frame, 6.0, 2), 0.3, 1.8)
    return Scene(
        tissues=tissues,
        brain=brain,
        edema=edema.astype(np.float32),
        core=core,
        rim=rim.astype(np.float32),
        lesions=_lesions(frame, tissues, labels, rng),
        vessels=_vessels(frame, tissues, rng),
        choroid=_choroid(frame, tissues, rng),
        necrosis=fractal_noise(rng, frame, 11.0, 3),
        blood=_blood(frame, rng),
        texture=fractal_noise(rng, frame, 9.0, 3),
    )


def draw_sequence(name: str, scene: Scene, rng: np.random.Generator) -> Array:
    """One sequence's clean signal, (X, Y, Z), white matter about 1, 0 outside the brain."""
    mean = SIGNAL[name]
    gm, csf, edema, core, rim = (mean[k] * rng.normal(1, 0.05) for k in ("gm", "csf", "edema", "core", "rim"))
    uptake = rng.uniform(0.95, 1.3) if name == "t1gd" else 1.0  # of gadolinium
    tissues = scene.tissues
    signal = tissues.wm + gm * tissues.gm + csf * tissues.csf + mean["texture"] * tissues.t1_texture
    signal *= 1 + 0.022 * scene.texture
    signal += _enhancing_vessels(name, scene)
    signal += np.clip(scene.edema, 0, 1.2) * (edema - signal)
    signal += scene.lesions * (0.9 * edema - signal)
    fluid = rng.normal(0.0, 0.16) if name == "FLAIR" else 0.0  # proteinaceous or watery necrosis
    patchy = {"FLAIR": 0.16, "T1w": 0.07, "t1gd": 0.07, "T2w": 0.22}[name]
    inside = core + fluid + patchy * scene.necrosis
    inside += scene.blood * ({"FLAIR": 0.9, "T1w": 1.3, "t1gd": 1.3, "T2w": 0.7}[name] - inside)
    signal += scene.core * (inside - signal)
    signal += scene.rim * (uptake * rim - signal)
    return np.asarray(np.maximum(signal, 0.03) * scene.brain, np.float32)


def _enhancing_vessels(name: str, scene: Scene) -> Array:
    """Gadolinium brightens vessels and choroid plexus; flowing blood is dark on spin echo."""
    change = {"FLAIR": -0.1, "T1w": 0.05, "t1gd": 0.95, "T2w": -0.6}[name]
    choroid = {"FLAIR": 0.35, "T1w": 0.1, "t1gd": 1.0, "T2w": -0.6}[name]
    return change * scene.vessels + choroid * scene.choroid


def _blood(frame: Frame, rng: np.random.Generator) -> Array:
    """Old bleeding in every sixth tumour: methaemoglobin, bright on T1 and dark on T2; used inside the core only."""
    patches = np.clip((fractal_noise(rng, frame, 9.0, 2) - 0.8) / 0.4, 0, 1)
    return np.asarray(patches * (rng.random() < 1 / 6), np.float32)


def _lesions(frame: Frame, tissues: Tissues, labels: np.ndarray, rng: np.random.Generator) -> Array:
    """Caps on the ventricles' horns and spots of small-vessel disease: bright, benign, not labelled."""
    caps, spots = rng.uniform(-0.4, 1.2), rng.uniform(-0.6, 1.0)
    near = np.exp(-((np.maximum(tissues.ventricle_mm - 1.5, 0) / 3.0) ** 2)) * tissues.wm
    patchy = np.clip(0.6 + 0.6 * smooth_noise(rng, frame, 12.0), 0, 1)
    found = max(0.0, caps) * near * patchy
    noise = smooth_noise(rng, frame, 6.5)
    deep = tissues.wm * np.clip((tissues.depth_mm - 10) / 6, 0, 1)
    if spots > 0:
        found = np.maximum(found, deep * np.clip((noise - 2.9 + 0.8 * spots) / 0.5, 0, 0.9))
    # Apart from the tumour, or nobody could say where its oedema ends.
    near_tumour = ndimage.gaussian_filter((labels > 0).astype(np.float32), 4.0 / frame.spacing_mm)
    return np.asarray(found * np.clip(1 - 12 * near_tumour, 0, 1), np.float32)


def _vessels(frame: Frame, tissues: Tissues, rng: np.random.Generator) -> Array:
    """Tubes where two noise fields are both near zero, in the sulci and on the surface; the sagittal sinus."""
    first, second = smooth_noise(rng, frame, 13.0), smooth_noise(rng, frame, 13.0)
    tubes = np.exp(-(first**2 + second**2) / (2 * 0.24**2))
    superficial = np.clip(tissues.csf * 1.6, 0, 1) * (tissues.ventricle_mm > 3)
    sinus = np.exp(-((tissues.midline_mm / 2.2) ** 2) - (tissues.depth_mm / 3) ** 2) * (tissues.depth_mm > 0)
    return np.asarray(np.maximum(tubes * superficial, 0.8 * sinus), np.float32)


def _choroid(frame: Frame, tissues: Tissues, rng: np.random.Generator) -> Array:
    """Choroid plexus: strands on the floor of the ventricles."""
    noise = fractal_noise(rng, frame, 7.0, 2)
    inside = np.exp(-(((tissues.ventricle_mm + 1.5) / 1.2) ** 2)) * (tissues.csf > 0.4)
    return np.asarray(inside * np.clip(noise - 1.0, 0, 0.8), np.float32)
