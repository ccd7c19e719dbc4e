"""FLAIR cases of a wider variety than the demo's: what a network must have met before it meets real patients.

After SynthSeg (Billot et al., Medical Image Analysis 2023), anatomy is simulated and contrast is drawn at random; here
it is drawn round FLAIR's, since the tumour is told apart by it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from decaseg.data.phantom.anatomy import Head, Tissues, cerebrum, draw_head, draw_tissues
from decaseg.data.phantom.artefacts import distorted, draw_distortion, field_of_view
from decaseg.data.phantom.contrast import Scene, draw_scene
from decaseg.data.phantom.frame import Array, Frame, fractal_noise, smooth_noise
from decaseg.data.phantom.skull_strip import leftovers
from decaseg.data.phantom.template import Template, load
from decaseg.data.phantom.tumour import Character, Tumour, draw_core, draw_tumour, mass_effect
from decaseg.volume import Volume

ANYWHERE = 0.3  # share of tumours that begin in any deep tissue, not where adult gliomas mostly do


@dataclass(frozen=True)
class Contrast:
    """Signals in units of normal white matter's; `soak`: how evenly oedema shines; `patchy`: how uneven the core is."""

    gm: float
    csf: float
    edema: float
    soak: float
    core: float
    patchy: float
    rim: float
    benign: float
    texture: float


def draw_varied_case(
    seed: int, number: int, spacing_mm: float, between: Callable[[], None] | None = None
) -> tuple[Volume, Volume]:
    """Image (1, X, Y, Z) int16, FLAIR alone, and label (1, X, Y, Z) uint8; the numbers alone decide every voxel.

    `between` is called between the stages; what it raises ends the drawing.
    """
    pause = between or (lambda: None)
    template, frame = load(), Frame(spacing_mm)
    streams = np.random.SeedSequence([seed, number, 1]).spawn(6)
    for_head, for_tumour, for_scene, for_contrast, for_outside, for_scanner = map(np.random.default_rng, streams)
    head = draw_head(template, frame, for_head, float(for_head.uniform(0.82, 1.0)))
    pause()
    tissues, tumour = _draw_tumours(template, head, for_tumour, pause)
    scene = draw_scene(frame, head.brain, tissues, tumour, for_scene)
    pause()
    signal = _signal(head, scene, tumour, draw_contrast(for_contrast), for_contrast)
    signal, inside = leftovers(signal, head, for_outside)
    pause()
    stored = distorted(signal, inside, frame, draw_distortion(for_scanner), for_scanner)
    kept = field_of_view(inside, frame, for_scanner)
    labels = np.where(kept & inside, tumour.labels, 0).astype(np.uint8)
    return Volume.of((stored * kept)[None], frame.affine), Volume.of(labels, frame.affine)


def draw_contrast(rng: np.random.Generator) -> Contrast:
    """One scanner's and one tumour's FLAIR: oedema is brighter than cortex, the core is anything."""
    gm = float(rng.uniform(0.95, 1.55))
    edema = gm + float(np.exp(rng.uniform(np.log(0.25), np.log(1.4))))
    kind = rng.random()  # solid and bright; like oedema; dark: necrosis, cysts
    core = edema * rng.uniform(1.0, 1.35) if kind < 0.45 else gm + (edema - gm) * rng.uniform(0.3, 1.0)
    if kind > 0.8:
        core = rng.uniform(0.25, 1.0)
    return Contrast(
        gm=gm,
        csf=float(rng.uniform(0.05, 0.6)),
        edema=edema,
        soak=float(rng.uniform(0.3, 1.0)),
        core=float(core),
        patchy=float(rng.uniform(0.02, 0.4)),
        rim=float(rng.uniform(0.9, 1.7) * gm),
        benign=float(rng.uniform(0.6, 1.05)),
        texture=float(rng.uniform(-0.4, 0.3)),
    )


def draw_varied_character(rng: np.random.Generator) -> Character:
    """From a spot of 0.5 ml to half a hemisphere, most as large as gliomas are; every third has hardly any oedema."""
    least_ml = 0.5 if rng.random() < 0.3 else 8.0
    core_ml = float(np.exp(rng.uniform(np.log(least_ml), np.log(150))))
    edema_ml = float(np.exp(rng.uniform(np.log(4), np.log(140)))) if rng.random() < 0.67 else rng.uniform(0, 3)
    return Character(
        core_ml=core_ml,
        edema_ml=float(np.clip(edema_ml, 0.1, 250 - core_ml)),
        lobes=int(rng.integers(1, 6)),
        roughness=float(rng.uniform(0.2, 1.5)),
        rim_mm=float(rng.uniform(2.0, 6.0)),
        enhances=bool(rng.random() < 0.75),
        gap=float(rng.uniform(-2.2, 0.6)),
        mass_effect=float(rng.uniform(0.1, 0.75)),
        satellite=bool(rng.random() < 0.25),
    )


def _draw_tumours(
    template: Template, head: Head, rng: np.random.Generator, pause: Callable[[], None]
) -> tuple[Tissues, Tumour]:
    """One tumour, in every fifth case two or three; what each pushes aside adds up."""
    count = 1 + int(rng.random() < 0.2) + int(rng.random() < 0.05)
    drawn = []
    for place in range(count):
        character = draw_varied_character(rng)
        core = draw_core(template, head, character, rng, anywhere=bool(rng.random() < ANYWHERE), loose=True)
        drawn.append((character, core, mass_effect(head, core, character, rng) if place == 0 else None))
        pause()
    tissues = draw_tissues(template, head, drawn[0][2])
    labels = np.zeros(head.frame.shape, np.uint8)
    time = np.full(head.frame.shape, np.inf, np.float32)
    for character, core, _ in drawn:
        tumour = draw_tumour(head, tissues, core, character, rng)
        labels = np.where((tumour.labels > 1) | (labels == 0), tumour.labels, labels)
        time = np.minimum(time, tumour.edema_time)
        pause()
    return tissues, Tumour(labels, time)


def _signal(head: Head, scene: Scene, tumour: Tumour, contrast: Contrast, rng: np.random.Generator) -> Array:
    """The clean signal, (X, Y, Z), white matter about 1, 0 outside the brain."""
    frame, tissues = head.frame, scene.tissues
    signal = tissues.wm + contrast.gm * tissues.gm + contrast.csf * tissues.csf
    signal += contrast.texture * tissues.t1_texture
    signal *= 1 + rng.uniform(0.01, 0.06) * scene.texture
    below = 1 - cerebrum(head.template_mm)
    signal *= 1 + rng.uniform(-0.2, 0.35) * below  # cerebellum and stem often shine brighter, by flow and by the coil
    signal += -0.1 * scene.vessels + rng.uniform(0, 0.6) * scene.choroid
    benign = _benign(frame, tissues, tumour, rng)
    signal += np.maximum(scene.lesions, benign) * (contrast.benign * contrast.edema - signal)
    wet = np.clip(scene.edema, 0, 1.2) ** contrast.soak  # below 1: as bright at the edge as at the core
    signal += wet * (contrast.edema - signal)
    inside = contrast.core + contrast.patchy * (scene.necrosis + 0.5 * fractal_noise(rng, frame, 5.0, 2))
    inside += scene.blood * (rng.uniform(0.2, 1.6) - inside)
    signal += scene.core * (inside - signal)
    signal += scene.rim * rng.uniform(0, 1) * (contrast.rim - signal)
    return np.asarray(np.maximum(signal, 0.02) * scene.brain, np.float32)


def _benign(frame: Frame, tissues: Tissues, tumour: Tumour, rng: np.random.Generator) -> Array:
    """Bright and not tumour: lining of the ventricles, white-matter disease, patches of bright cortex."""
    lining = rng.uniform(-0.5, 1.0)
    near = np.exp(-((np.maximum(tissues.ventricle_mm - 0.5, 0) / rng.uniform(1.0, 4.5)) ** 2)) * (tissues.wm > 0.3)
    found = max(0.0, lining) * near * np.clip(0.7 + 0.5 * smooth_noise(rng, frame, 15.0), 0, 1)
    disease = rng.uniform(-1.0, 0.9)
    if disease > 0:
        noise = smooth_noise(rng, frame, float(rng.uniform(5, 11)))
        spots = tissues.wm * np.clip((noise - 2.4 + 0.8 * disease) / 0.5, 0, 1)
        found = np.maximum(found, spots * (tissues.depth_mm > 8))
    cortex = tissues.gm * np.clip((smooth_noise(rng, frame, 22.0) - 1.4) / 0.8, 0, 1)
    found = np.maximum(found, rng.uniform(0, 0.8) * cortex)
    near_tumour = ndimage.gaussian_filter((tumour.labels > 0).astype(np.float32), 3.0 / frame.spacing_mm)
    return np.asarray(found * np.clip(1 - 8 * near_tumour, 0, 1), np.float32)
