"""Noise, blur, brightness, contrast, low resolution and gamma: drawn a sample, applied only where drawn."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Intensity:
    """Shares of samples that get each change, and ranges; the defaults are nnU-Net's published ones."""

    noise_share: float = 0.1
    noise_std: float = 0.3
    blur_share: float = 0.2
    blur_sigma: tuple[float, float] = (0.5, 1.0)
    brightness_share: float = 0.15
    brightness: tuple[float, float] = (0.75, 1.25)
    contrast_share: float = 0.15
    contrast: tuple[float, float] = (0.75, 1.25)
    low_resolution_share: float = 0.15
    low_resolution: tuple[float, float] = (0.5, 1.0)
    gamma_share: float = 0.3
    gamma: tuple[float, float] = (0.7, 1.5)

    def times(self, strength: float) -> Intensity:
        """The same changes, `strength` times as often (a share never passes 1)."""
        if strength < 0:
            raise ValueError(f"intensity_strength={strength:g}: must be 0 or more; 0 switches all changes off")
        shares = {f.name: min(1.0, getattr(self, f.name) * strength) for f in fields(self) if f.name.endswith("_share")}
        return replace(self, **shares)


@dataclass(frozen=True)
class IntensityDraw:
    """One number a sample and change; NaN where the sample does not get it. All tensors are (B,).

    `noise_seed` gives every sample a noise of its own, whichever samples are made beside it.
    """

    noise_std: Tensor
    blur_sigma: Tensor
    brightness: Tensor
    contrast: Tensor
    low_resolution: Tensor
    gamma: Tensor
    noise_seed: Tensor


def draw_intensity(what: Intensity, batch: int, generator: torch.Generator) -> IntensityDraw:
    """Draws which samples get which change, and how much."""

    def draw(share: float, low: float, high: float) -> Tensor:
        hit = torch.rand(batch, generator=generator) < share
        value = torch.rand(batch, generator=generator) * (high - low) + low
        return torch.where(hit, value, torch.nan)

    return IntensityDraw(
        noise_std=draw(what.noise_share, 0.0, what.noise_std),
        blur_sigma=draw(what.blur_share, *what.blur_sigma),
        brightness=draw(what.brightness_share, *what.brightness),
        contrast=draw(what.contrast_share, *what.contrast),
        low_resolution=draw(what.low_resolution_share, *what.low_resolution),
        gamma=draw(what.gamma_share, *what.gamma),
        noise_seed=torch.randint(2**31, (batch,), generator=generator),
    )


def apply_intensity(draw: IntensityDraw, image: Tensor) -> Tensor:
    """Changes a (B, C, X, Y, Z) batch in place, in nnU-Net's order, and returns it."""
    generator = torch.Generator(image.device)
    for row in range(image.shape[0]):
        sample = image[row]
        if (std := _drawn(draw.noise_std, row)) is not None:
            generator.manual_seed(int(draw.noise_seed[row]))
            sample += torch.randn(sample.shape, generator=generator, device=image.device) * std
        if (sigma := _drawn(draw.blur_sigma, row)) is not None:
            sample.copy_(_blur(sample, sigma))
        if (factor := _drawn(draw.brightness, row)) is not None:
            sample *= factor
        if (factor := _drawn(draw.contrast, row)) is not None:
            _change_contrast(sample, factor)
        if (zoom := _drawn(draw.low_resolution, row)) is not None:
            sample.copy_(_lower_resolution(sample, zoom))
        if (gamma := _drawn(draw.gamma, row)) is not None:
            _change_gamma(sample, gamma)
    return image


def _drawn(values: Tensor, row: int) -> float | None:
    value = float(values[row])
    return None if value != value else value


def _blur(sample: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (C, X, Y, Z), axis by axis; sigma in voxels."""
    reach = max(1, round(3 * sigma))
    offset = torch.arange(-reach, reach + 1, dtype=torch.float32, device=sample.device)
    kernel = torch.exp(-(offset**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    for axis in range(3):
        shape, pad = [1, 1, 1, 1, 1], [0, 0, 0]
        shape[2 + axis], pad[axis] = len(kernel), reach
        padded = functional.pad(sample[:, None], _pad_argument(pad), mode="replicate")
        sample = functional.conv3d(padded, kernel.view(shape))[:, 0]
    return sample


def _pad_argument(pad: list[int]) -> list[int]:
    return [p for width in reversed(pad) for p in (width, width)]


def _change_contrast(sample: Tensor, factor: float) -> None:
    """Stretches each channel round its mean, kept inside the range it had."""
    axes = (1, 2, 3)
    mean = sample.mean(dim=axes, keepdim=True)
    low, high = sample.amin(dim=axes, keepdim=True), sample.amax(dim=axes, keepdim=True)
    sample.sub_(mean).mul_(factor).add_(mean)
    torch.minimum(torch.maximum(sample, low), high, out=sample)


def _lower_resolution(sample: Tensor, zoom: float) -> Tensor:
    """Nearest down to `zoom` of the voxels an axis, linearly up again: a coarser scan of the same size."""
    size = sample.shape[1:]
    small = functional.interpolate(sample[None], size=[max(1, round(n * zoom)) for n in size], mode="nearest-exact")
    return functional.interpolate(small, size=list(size), mode="trilinear", align_corners=False)[0]


def _change_gamma(sample: Tensor, gamma: float) -> None:
    """Raises each channel, scaled to [0, 1], to the power `gamma`; its mean and deviation stay (nnU-Net)."""
    axes = (1, 2, 3)
    low = sample.amin(dim=axes, keepdim=True)
    span = (sample.amax(dim=axes, keepdim=True) - low).clamp_(min=1e-7)
    std, mean = torch.std_mean(sample, dim=axes, keepdim=True, correction=0)
    changed = ((sample - low) / span).pow_(gamma).mul_(span).add_(low)
    new_std, new_mean = torch.std_mean(changed, dim=axes, keepdim=True, correction=0)
    sample.copy_((changed - new_mean) / new_std.clamp(min=1e-7) * std + mean)
