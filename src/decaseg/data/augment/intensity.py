"""Noise, blur, brightness, contrast, low resolution and gamma: drawn first, applied only where drawn."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import partial

import torch
from torch import Tensor

from decaseg.data.augment.axiswise import apply_along_axes, blur_matrix, low_resolution_matrix
from decaseg.data.augment.side_by_side import side_by_side


@dataclass(frozen=True)
class Intensity:
    """Shares of samples that get each change, and ranges; the defaults are those of nnU-Net's code.

    Blur and low resolution reach only `channel_share` of a sample's channels; every other change reaches all. Noise
    is alike in strength over a sample's channels; all else is drawn anew for each.
    """

    noise_share: float = 0.1
    noise_std: float = 0.1
    blur_share: float = 0.2
    blur_sigma: tuple[float, float] = (0.5, 1.0)
    brightness_share: float = 0.15
    brightness: tuple[float, float] = (0.75, 1.25)
    contrast_share: float = 0.15
    contrast: tuple[float, float] = (0.75, 1.25)
    low_resolution_share: float = 0.25
    low_resolution: tuple[float, float] = (0.5, 1.0)
    inverted_gamma_share: float = 0.1
    gamma_share: float = 0.3
    gamma: tuple[float, float] = (0.7, 1.5)
    channel_share: float = 0.5

    def times(self, strength: float) -> Intensity:
        """The same changes, `strength` times as often (a share never passes 1)."""
        if strength < 0:
            raise ValueError(f"intensity_strength={strength:g}: must be 0 or more; 0 switches all changes off")
        names = [f.name for f in fields(self) if f.name.endswith("_share") and f.name != "channel_share"]
        return replace(self, **{name: min(1.0, getattr(self, name) * strength) for name in names})


@dataclass(frozen=True)
class IntensityDraw:
    """What each sample and channel gets; NaN where it does not get it.

    `noise_std` and `noise_seed` are (B,), `blur_sigma` is (B, C, 3) in voxels an axis, all others are (B, C).
    """

    noise_std: Tensor
    noise_seed: Tensor
    blur_sigma: Tensor
    brightness: Tensor
    contrast: Tensor
    low_resolution: Tensor
    inverted_gamma: Tensor
    gamma: Tensor


def draw_intensity(what: Intensity, batch: int, channels: int, generator: torch.Generator) -> IntensityDraw:
    """Draws which samples and channels get which change, and how much."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    def only(share: float, values: Tensor, channel_share: float = 1.0) -> Tensor:
        hit = (uniform(batch, 1) < share) & (uniform(batch, channels) < channel_share)
        return torch.where(hit.view(batch, channels, *(1,) * (values.ndim - 2)), values, torch.nan)

    def between(low: float, high: float, *more: int) -> Tensor:
        return uniform(batch, channels, *more) * (high - low) + low

    def round_one(low: float, high: float) -> Tensor:
        """As often below 1 as above it, whatever the range: a change and its opposite are equally likely."""
        below, value = uniform(batch, channels) < 0.5, uniform(batch, channels)
        return torch.where(below, 1 - value * (1 - low), 1 + value * (high - 1))

    return IntensityDraw(
        noise_std=torch.where(uniform(batch) < what.noise_share, uniform(batch) * what.noise_std, torch.nan),
        noise_seed=torch.randint(2**62, (batch,), generator=generator),
        blur_sigma=only(what.blur_share, between(*what.blur_sigma, 3), what.channel_share),
        brightness=only(what.brightness_share, round_one(*what.brightness)),
        contrast=only(what.contrast_share, round_one(*what.contrast)),
        low_resolution=only(what.low_resolution_share, between(*what.low_resolution), what.channel_share),
        inverted_gamma=only(what.inverted_gamma_share, round_one(*what.gamma)),
        gamma=only(what.gamma_share, round_one(*what.gamma)),
    )


def apply_intensity(draw: IntensityDraw, image: Tensor) -> Tensor:
    """Changes a contiguous (B, C, X, Y, Z) batch in place, in nnU-Net's order, and returns it."""

    pieces = [
        partial(_change, draw, row, number, image) for row in range(len(image)) for number in range(image.shape[1])
    ]
    side_by_side(pieces, image.device)
    return image


def _change(draw: IntensityDraw, row: int, number: int, image: Tensor) -> None:
    """All that was drawn for one channel of one sample."""
    at, channel = (row, number), image[row, number]
    if _drawn(std := draw.noise_std[row].item()):
        _add_noise(channel, std, int(draw.noise_seed[row]), number)
    if _drawn((sigmas := draw.blur_sigma[at].tolist())[0]):
        apply_along_axes(channel, [blur_matrix(n, s) for n, s in zip(channel.shape, sigmas, strict=True)])
    if _drawn(factor := draw.brightness[at].item()):
        channel *= factor
    if _drawn(factor := draw.contrast[at].item()):
        _change_contrast(channel, factor)
    if _drawn(zoom := draw.low_resolution[at].item()):
        apply_along_axes(channel, [low_resolution_matrix(n, zoom) for n in channel.shape])
    if _drawn(gamma := draw.inverted_gamma[at].item()):
        _change_gamma(channel, gamma, inverted=True)
    if _drawn(gamma := draw.gamma[at].item()):
        _change_gamma(channel, gamma, inverted=False)


def _drawn(value: float) -> bool:
    return value == value  # NaN differs from itself


def _add_noise(channel: Tensor, std: float, seed: int, number: int) -> None:
    """Adds normal noise, a function of seed and channel, and of the kind of device: each has its own generator."""
    # Odd, so that channels of one sample never share a seed (the golden ratio's bits, as in splitmix).
    generator = torch.Generator(channel.device).manual_seed((seed + number * 0x9E3779B97F4A7C15) % 2**63)
    channel += torch.empty_like(channel).normal_(0, std, generator=generator)


def _change_contrast(channel: Tensor, factor: float) -> None:
    """Stretches a channel round its mean, kept inside the range it had."""
    low, high = channel.aminmax()
    mean = channel.mean()
    # Numbers as limits: with tensors of one value torch takes five times as long.
    channel.mul_(factor).add_(mean * (1 - factor)).clamp_(low.item(), high.item())


def _change_gamma(channel: Tensor, gamma: float, *, inverted: bool) -> None:
    """Raises a channel, as it rises above its least value, to the power `gamma`; mean and deviation stay (nnU-Net).

    Inverted, it is the distance from the brightest voxel that is raised, so dark and bright change their parts.
    """
    mean = _centre(channel)
    spread = torch.linalg.vector_norm(channel)
    low, high = channel.aminmax()
    least = 1e-7 * (high - low).clamp(min=1e-7) ** gamma
    # Scaled by the deviation that it is to have, and not before: that is a pass less over the channel.
    if inverted:
        torch.sub(high, channel, out=channel)
    else:
        channel.sub_(low)
    channel.log_().mul_(gamma).exp_()  # four times as fast as pow_; 0 becomes -inf, and 0 again
    _centre(channel)
    scale = spread / torch.maximum(torch.linalg.vector_norm(channel), least)
    channel.mul_(-scale if inverted else scale).add_(mean)


def _centre(channel: Tensor) -> Tensor:
    """Subtracts a channel's mean, in place, and returns it."""
    mean = channel.mean()
    channel -= mean
    return mean
