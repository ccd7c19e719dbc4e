"""What skull stripping leaves and takes: fat, dura and dark remains outside the brain, bites out of the cortex."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from decaseg.data.phantom.anatomy import Head, Mask
from decaseg.data.phantom.frame import Array, fractal_noise, smooth_noise

THICK = 0.15  # share of the brains with thick, bright remains
BASE_MM = -12.0  # below this height the orbits and the skull base lie in front: there most is left


def leftovers(signal: Array, head: Head, rng: np.random.Generator) -> tuple[Array, Mask]:
    """The signal with tissue outside the brain and without parts of its surface, and the mask of what is there."""
    frame = head.frame
    brain = head.brain
    outside_mm = ndimage.distance_transform_edt(~brain).astype(np.float32) * np.float32(frame.spacing_mm)
    low_front = ((head.template_mm[2] < BASE_MM) & (head.template_mm[1] > 0)).astype(np.float32)
    low_front = ndimage.gaussian_filter(low_front, 6 / frame.spacing_mm)
    amount = rng.uniform(-1.6, 0.6)  # of most brains little is left outside
    # Thick and bright remains are rare: where every brain has them, a bright temporal pole is taken for one.
    thick = rng.random() < THICK
    reach_mm = rng.uniform(4, 9) if thick else rng.uniform(1, 4)
    patches = smooth_noise(rng, frame, float(rng.uniform(10, 26))) + amount
    patches += rng.uniform(0, 2.5 if thick else 1.2) * low_front
    kept = (outside_mm > 0) & (outside_mm < reach_mm * np.clip(patches, 0, 1.5))
    tissue = 0.6 + rng.uniform(0.2, 0.9) * fractal_noise(rng, frame, float(rng.uniform(5, 14)), 3)
    tissue += rng.uniform(0, 1.6 if thick else 0.4) * low_front
    signal = np.where(kept, np.clip(tissue, 0.03, 3.5), signal)
    # The surface: a bright or dark rim here and there, as partial volume and dura give it.
    rim = np.clip(smooth_noise(rng, frame, 18.0) - rng.uniform(0.3, 2.0), 0, 1) * brain
    rim *= np.exp(-((head.depth_mm / rng.uniform(1.5, 4.0)) ** 2))
    signal = signal + rim * rng.uniform(-0.7, 0.5)
    bites = brain & (head.depth_mm < rng.uniform(0, 5) * np.clip(smooth_noise(rng, frame, 24.0) - 1.2, 0, 1))
    inside = (brain | kept) & ~bites
    return np.asarray(np.maximum(signal, 0.02) * inside, np.float32), inside
