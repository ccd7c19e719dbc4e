"""From clean signal to what a scanner stores: slices, coil shading, noise, arbitrary units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from decaseg.data.phantom.anatomy import Mask
from decaseg.data.phantom.frame import Array, Frame, smooth_noise


@dataclass(frozen=True)
class Acquisition:
    """One sequence's settings. `blur_mm`: Gaussian sigma along x, y, z. `noise`: of white matter's signal."""

    blur_mm: tuple[float, float, float]
    shading: float
    noise: float
    scale: float


def draw_acquisition(rng: np.random.Generator, spacing_mm: float) -> Acquisition:
    """Sharp to about a voxel, 1.1 mm at best; every third scan is 2D with slices of 3 to 5 mm, as clinical ones are."""
    fine = float(rng.uniform(0.4, 0.55)) * max(1.2, spacing_mm)
    thick = float(rng.uniform(1.2, 2.0))
    blur = [fine, fine, fine]
    if rng.random() < 0.33:
        blur[int(rng.choice([2, 2, 0, 1]))] = max(fine, thick)
    return Acquisition(
        blur_mm=(blur[0], blur[1], blur[2]),
        shading=float(rng.uniform(0.03, 0.1)),
        noise=float(rng.uniform(0.015, 0.045)),
        scale=float(np.exp(rng.uniform(np.log(180), np.log(1400)))),
    )


def acquire(
    signal: Array, brain: Mask, frame: Frame, settings: Acquisition, rng: np.random.Generator
) -> NDArray[np.int16]:
    """The stored image, (X, Y, Z): 0 outside the brain, at least 1 inside, as skull-stripped data has it.

    Noise is Rician, as in magnitude images (Gudbjartsson and Patz, MRM 1995).
    """
    image = ndimage.gaussian_filter(signal, [s / frame.spacing_mm for s in settings.blur_mm])
    image *= np.exp(settings.shading * smooth_noise(rng, frame, 80.0))
    real = image + settings.noise * rng.standard_normal(frame.shape, dtype=np.float32)
    imaginary = settings.noise * rng.standard_normal(frame.shape, dtype=np.float32)
    magnitude = np.sqrt(real**2 + imaginary**2) * settings.scale
    stored = np.clip(np.rint(magnitude), 1, 32767) * brain
    return np.asarray(stored, np.int16)
