"""From a varied signal to what all sorts of scanners and pipelines store."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from decaseg.data.phantom.anatomy import Mask
from decaseg.data.phantom.frame import Array, Frame, smooth_noise


@dataclass(frozen=True)
class Distortion:
    """One scan's faults. Lengths in mm; `noise`, `ghost` as shares of white matter's signal; `gamma` bends contrast."""

    blur_mm: tuple[float, float, float]
    slices: tuple[int, float] | None
    shading: float
    shading_mm: float
    noise: float
    noise_mm: float
    ghost: float
    ghost_axis: int
    gamma: float
    scale: float


def draw_distortion(rng: np.random.Generator) -> Distortion:
    """Every second scan has thick slices, every third noise that resampling smoothed, every fifth ghosts of motion."""
    blur = float(rng.uniform(0.3, 1.4))
    thick = (int(rng.choice([2, 2, 2, 0, 1])), float(rng.uniform(3.0, 7.0))) if rng.random() < 0.5 else None
    return Distortion(
        blur_mm=(blur, blur, blur),
        slices=thick,
        shading=float(rng.uniform(0.0, 0.35)),
        shading_mm=float(rng.uniform(45, 110)),
        noise=float(rng.uniform(0.01, 0.09)),
        noise_mm=float(rng.uniform(1.0, 2.5)) if rng.random() < 0.33 else 0.0,
        ghost=float(rng.uniform(0.02, 0.15)) if rng.random() < 0.2 else 0.0,
        ghost_axis=int(rng.integers(2)),
        gamma=float(np.exp(rng.normal(0, 0.15))),
        scale=float(np.exp(rng.uniform(np.log(180), np.log(1400)))),
    )


def distorted(
    signal: Array, inside: Mask, frame: Frame, settings: Distortion, rng: np.random.Generator
) -> NDArray[np.int16]:
    """The stored image, (X, Y, Z): 0 outside the mask, at least 1 inside."""
    image = ndimage.gaussian_filter(signal, [s / frame.spacing_mm for s in settings.blur_mm])
    if settings.slices is not None:
        image = _through_slices(image, *settings.slices, frame.spacing_mm)
    image = image * np.exp(settings.shading * smooth_noise(rng, frame, settings.shading_mm))
    if settings.ghost:
        step = int(rng.integers(8, 30))
        image = image + settings.ghost * (np.roll(image, step, settings.ghost_axis) - image)
    noise = rng.standard_normal((2, *frame.shape), dtype=np.float32)
    if settings.noise_mm:
        sigma = settings.noise_mm / frame.spacing_mm / 2
        noise = ndimage.gaussian_filter(noise, (0, sigma, sigma, sigma))
        noise /= noise.std()
    magnitude = np.hypot(image + settings.noise * noise[0], settings.noise * noise[1])
    stored = np.rint(magnitude**settings.gamma * settings.scale)
    return np.asarray(np.clip(stored, 1, 32767) * inside, np.int16)


def _through_slices(image: Array, axis: int, thickness_mm: float, spacing_mm: float) -> Array:
    """As if scanned in slices of that thickness and resampled linearly to the grid."""
    n = image.shape[axis]
    smooth = ndimage.gaussian_filter1d(image, 0.4 * thickness_mm / spacing_mm, axis=axis)
    centres = np.arange(0, n, thickness_mm / spacing_mm)
    at = np.arange(n) * spacing_mm / thickness_mm
    low = np.minimum(at.astype(int), len(centres) - 1)
    high = np.minimum(low + 1, len(centres) - 1)
    part = (at - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
    slices = np.take(smooth, np.rint(centres).astype(int).clip(0, n - 1), axis=axis)
    return np.asarray(np.take(slices, low, axis=axis) * (1 - part) + np.take(slices, high, axis=axis) * part)


def field_of_view(inside: Mask, frame: Frame, rng: np.random.Generator) -> Mask:
    """True where the scan reaches: every third one misses up to 20 mm of brain on one or two sides."""
    kept = np.ones(frame.shape, bool)
    if rng.random() > 0.33:
        return kept
    for _ in range(int(rng.integers(1, 3))):
        axis, far = int(rng.choice([2, 2, 1, 0])), bool(rng.random() < 0.5)
        across = np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))
        cut = round(rng.uniform(2, 20) / frame.spacing_mm)
        gone = [slice(None)] * 3
        gone[axis] = slice(across[-1] - cut + 1, None) if far else slice(0, across[0] + cut)
        kept[tuple(gone)] = False
    return kept
