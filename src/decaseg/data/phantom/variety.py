"""FLAIR cases of a wider variety than the demo's: what a network must have met before it meets real patients.

After SynthSeg (Billot et al., Medical Image Analysis 2023), anatomy is simulated and contrast is drawn at random; here
it is drawn round FLAIR's, since the tumour is told apart by it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from decaseg.data.phantom.anatomy import Head, Tissues, cerebrum, draw_head, draw_tissues
from decaseg.data.phantom.artefacts import distorted, draw_distortion, field_of_view
from decaseg.data.phantom.contrast import Scene, draw_scene
from decaseg.data.phantom.frame import Array, Frame, fractal_noise, smooth_noise
from decaseg.data.phantom.skull_strip import leftovers
from decaseg.data.phantom.template import Template, load
from decaseg.data.phantom.tumour import EDEMA, Character, Tumour, draw_core, draw_tumour, mass_effect
from decaseg.volume import Volume

# Where tumours begin: elsewhere, where adult gliomas mostly do.
ANYWHERE = 0.2  # share in any deep tissue
SURFACE = 0.2  # share near the surface, which gliomas often reach
POLES = 0.1  # share low in a temporal lobe, which the template's places leave out
PLACE_SHARES = {"anywhere": ANYWHERE, "surface": SURFACE, "poles": POLES, "usual": 1 - ANYWHERE - SURFACE - POLES}
SEEN = 0.35  # a reader's outline goes where that share of the tumour's full signal is reached, not half: it is generous
# Brighter than their neighbours on healthy people's FLAIR, here on the right; millimetres of the template.
LIMBIC_MM = ((0, 20, 28), (0, -25, 32), (38, 0, 0), (24, -20, -14))  # cortex: cingulum, insula, hippocampus
DEEP_MM = (
    (23, -18, 8),  # corticospinal tract in the internal capsule
    (8, -38, 12),  # splenium
    (5, -28, -22),  # pons
    (26, 4, 2),  # putamen
    (11, -18, 8),  # thalamus
)


@dataclass(frozen=True)
class Contrast:
    """Signals in units of normal white matter's; `soak`: how evenly oedema shines; `patchy`: how uneven the core is.

    `dead`: the signal of what is dead or fluid in the core. `shell_mm`: it lies deeper than this; infinite where the
    core lives throughout. `islands_mm`: grain of living and dead tissue in each other, 0 for one dead middle.
    """

    gm: float
    csf: float
    edema: float
    soak: float
    core: float
    patchy: float
    dead: float
    shell_mm: float
    islands_mm: float
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
    head = replace(head, ventricle_growth_mm=float(for_head.uniform(-1.2, 4.0)))
    pause()
    tissues, tumour, infiltrates = _draw_tumours(template, head, for_tumour, pause)
    fade = float(np.exp(for_scene.uniform(np.log(0.04), np.log(0.2))))
    scene = draw_scene(frame, head.brain, tissues, tumour, for_scene, fade, 0.55 + 0.45 * infiltrates)
    pause()
    contrast = draw_contrast(for_contrast)
    tumour = replace(tumour, labels=_outlined(frame, scene, tumour, contrast))
    signal = _signal(head, scene, tumour, contrast, for_contrast)
    signal, inside = leftovers(signal, head, for_outside)
    pause()
    stored = distorted(signal, inside, frame, draw_distortion(for_scanner), for_scanner)
    kept = field_of_view(inside, frame, for_scanner)
    labels = np.where(kept & inside, tumour.labels, 0).astype(np.uint8)
    return Volume.of((stored * kept)[None], frame.affine), Volume.of(labels, frame.affine)


def draw_contrast(rng: np.random.Generator) -> Contrast:
    """One scanner's and one tumour's FLAIR: oedema is brighter than cortex, the core is anything from cortex on."""
    gm = float(rng.uniform(0.95, 1.4))
    edema = gm + float(np.exp(rng.uniform(np.log(0.2), np.log(1.5))))
    core = edema * rng.uniform(1.0, 1.35) if rng.random() < 0.5 else gm + (edema - gm) * rng.uniform(0.0, 1.0)
    kind = rng.random()  # living throughout; a dead middle: necrosis, cysts; dead and living in each other
    csf = float(rng.uniform(0.05, 0.6))
    dead = rng.uniform(csf + 0.1, 1.0) if rng.random() < 0.7 else rng.uniform(0.4, 1.0) * core  # no ventricle
    return Contrast(
        gm=gm,
        csf=csf,
        edema=edema,
        soak=float(rng.uniform(0.3, 1.0)),
        core=float(core),
        patchy=float(np.exp(rng.uniform(np.log(0.03), np.log(0.8)))),
        dead=float(dead),
        shell_mm=np.inf if kind < 0.4 else float(rng.uniform(1.0, 6.0)),
        islands_mm=0.0 if kind < 0.7 else float(rng.uniform(6, 22)),
        rim=float(rng.uniform(0.9, 1.7) * gm),
        benign=float(rng.uniform(0.6, 1.05)),
        texture=float(rng.uniform(-0.4, 0.3)),
    )


def draw_varied_character(rng: np.random.Generator) -> Character:
    """From a spot of 0.5 ml to most of a hemisphere, most as large as gliomas are.

    Every third has hardly any oedema; every second spreads in cortex too, as diffuse gliomas do.
    """
    least_ml = 0.5 if rng.random() < 0.3 else 8.0
    core_ml = float(np.exp(rng.uniform(np.log(least_ml), np.log(170))))
    edema_ml = float(np.exp(rng.uniform(np.log(4), np.log(170)))) if rng.random() < 0.67 else rng.uniform(0, 3)
    return Character(
        core_ml=core_ml,
        edema_ml=float(np.clip(edema_ml, 0.1, 290 - core_ml)),
        lobes=int(rng.integers(1, 6)),
        roughness=float(rng.uniform(0.2, 1.5)),
        rim_mm=float(rng.uniform(2.0, 6.0)),
        enhances=bool(rng.random() < 0.75),
        gap=float(rng.uniform(-2.2, 0.6)),
        mass_effect=float(rng.uniform(0.1, 0.75)),
        satellite=bool(rng.random() < 0.25),
        infiltrates=float(rng.uniform(0.3, 1.0)) if rng.random() < 0.5 else 0.0,
    )


def _draw_tumours(
    template: Template, head: Head, rng: np.random.Generator, pause: Callable[[], None]
) -> tuple[Tissues, Tumour, float]:
    """One tumour, in every fifth case two or three, and how freely the first spreads in cortex."""
    count = 1 + int(rng.random() < 0.2) + int(rng.random() < 0.05)
    drawn = []
    for place in range(count):
        character = draw_varied_character(rng)
        where = str(rng.choice(list(PLACE_SHARES), p=list(PLACE_SHARES.values())))
        core = draw_core(template, head, character, rng, where, loose=True)
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
    return tissues, Tumour(labels, time), drawn[0][0].infiltrates


def _wet(scene: Scene, contrast: Contrast) -> Array:
    """0 to about 1; with `soak` below 1 the oedema is as bright at its edge as at the core."""
    return np.asarray(np.clip(scene.edema, 0, 1.2) ** contrast.soak, np.float32)


def _outlined(frame: Frame, scene: Scene, tumour: Tumour, contrast: Contrast) -> NDArray[np.uint8]:
    """The labels as a reader draws them: smooth, round all that shines, with what is dark inside."""
    shines = ndimage.gaussian_filter(np.maximum(_wet(scene, contrast), scene.core), 1.2 / frame.spacing_mm)
    whole = (shines > SEEN) & scene.brain
    return np.where(whole, np.maximum(tumour.labels, EDEMA), 0).astype(np.uint8)


def _signal(head: Head, scene: Scene, tumour: Tumour, contrast: Contrast, rng: np.random.Generator) -> Array:
    """The clean signal, (X, Y, Z), white matter about 1, 0 outside the brain."""
    frame, tissues = head.frame, scene.tissues
    signal = tissues.wm + contrast.gm * tissues.gm + contrast.csf * tissues.csf
    signal += contrast.texture * tissues.t1_texture
    signal *= 1 + rng.uniform(0.01, 0.06) * scene.texture
    # Cerebellum and stem often shine brighter, by flow and by the coil.
    signal *= 1 + rng.uniform(-0.2, 0.35) * _posterior_fossa(head)
    signal += -0.1 * scene.vessels + rng.uniform(0, 0.6) * scene.choroid
    signal *= 1 + rng.uniform(0, 0.1) * smooth_noise(rng, frame, 28.0)  # no region is quite like its neighbour
    signal *= 1 + rng.uniform(0, 0.3) * tissues.gm * _near(head, LIMBIC_MM, 14.0)
    for place in DEEP_MM:
        signal *= 1 + max(0.0, rng.uniform(-0.15, 0.4)) * _near(head, (place,), rng.uniform(5, 10))
    signal *= 1 + rng.uniform(-0.15, 0.12) * np.exp(-((head.depth_mm / rng.uniform(8, 25)) ** 2))  # near the coils
    benign = _benign(frame, tissues, tumour, rng)
    signal += np.maximum(scene.lesions, benign) * (contrast.benign * contrast.edema - signal)
    signal += _wet(scene, contrast) * (contrast.edema - signal)
    inside = contrast.core + contrast.patchy * (scene.necrosis + 0.5 * fractal_noise(rng, frame, 5.0, 2))
    inside += _dead(frame, scene, contrast, rng) * (contrast.dead - inside)
    inside += scene.blood * (rng.uniform(0.2, 1.6) - inside)
    signal += scene.core * (inside - signal)
    signal += scene.rim * rng.uniform(0, 1) * (contrast.rim - signal)
    return np.asarray(np.maximum(signal, 0.02) * scene.brain, np.float32)


def _dead(frame: Frame, scene: Scene, contrast: Contrast, rng: np.random.Generator) -> Array:
    """How much of each voxel of the core is dead, 0 to 1: deep inside, under a living shell of uneven thickness."""
    if not np.isfinite(contrast.shell_mm):
        return np.zeros(frame.shape, np.float32)
    deep = ndimage.distance_transform_edt(scene.core > 0.5).astype(np.float32) * np.float32(frame.spacing_mm)
    dead = np.clip(0.5 + (deep - contrast.shell_mm * np.exp(0.4 * scene.necrosis)) / 3.0, 0, 1)
    if contrast.islands_mm:
        dead *= np.clip(0.5 + fractal_noise(rng, frame, contrast.islands_mm, 3) / rng.uniform(0.3, 1.5), 0, 1)
    return np.asarray(dead, np.float32)


def _posterior_fossa(head: Head) -> Array:
    """1 in cerebellum and stem, 0 elsewhere; the temporal lobes lie as low, but beside and before them."""
    x, y = np.abs(head.template_mm[0]), head.template_mm[1]
    behind = np.maximum(1 / (1 + np.exp((y + 38) / 2)), 1 / (1 + np.exp((x - 16) / 2)))
    return np.asarray((1 - cerebrum(head.template_mm)) * behind, np.float32)


def _near(head: Head, places_mm: tuple[tuple[int, int, int], ...], reach_mm: float) -> Array:
    """1 at the places, on both sides of the brain, falling as a Gaussian does."""
    x, y, z = np.abs(head.template_mm[0]), head.template_mm[1], head.template_mm[2]
    near = [np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / (2 * reach_mm**2)) for a, b, c in places_mm]
    return np.asarray(np.max(near, axis=0), np.float32)


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
    found = np.maximum(found, max(0.0, rng.uniform(-0.7, 0.7)) * cortex)
    near_tumour = ndimage.gaussian_filter((tumour.labels > 0).astype(np.float32), 3.0 / frame.spacing_mm)
    return np.asarray(found * np.clip(1 - 8 * near_tumour, 0, 1), np.float32)
