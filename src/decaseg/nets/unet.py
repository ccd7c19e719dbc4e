"""The 3D U-Net (Çiçek et al. 2016), plain or with residual blocks, as nnU-Net and Intel's original shape it."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from decaseg.geometry import Int3
from decaseg.nets import frugal
from decaseg.nets.convolution import Conv3d
from decaseg.nets.members import Members
from decaseg.nets.norm import InstanceNorm, normalise_and_activate
from decaseg.nets.residual import Layers, ResidualBlock, residual_level
from decaseg.nets.skip import beside
from decaseg.nets.spec import NetworkSpec

NORMS = {
    "instance": lambda channels: InstanceNorm(channels, affine=True),
    "batch": lambda channels: nn.BatchNorm3d(channels, eps=1e-3, momentum=0.01),  # Keras' values, as in the original
    "group": lambda channels: nn.GroupNorm(math.gcd(8, channels), channels),  # 8 groups, as Myronenko 2018
    "none": lambda channels: nn.Identity(),
}
NONLINEARITIES = {
    "leaky_relu": lambda: nn.LeakyReLU(0.01, inplace=True),
    "relu": lambda: nn.ReLU(inplace=True),
}
UPSAMPLING = {
    "transposed": lambda inputs, outputs, stride: nn.ConvTranspose3d(inputs, outputs, stride, stride),
    "nearest": lambda inputs, outputs, stride: nn.Upsample(scale_factor=tuple(map(float, stride)), mode="nearest"),
}


def _padding(kernel: Int3) -> Int3:
    return kernel[0] // 2, kernel[1] // 2, kernel[2] // 2


class MaxPool3d(nn.MaxPool3d):
    """torch's, in the precision of what it gets; autocast would make it float32, to the same values."""

    def forward(self, input: Tensor) -> Tensor:
        if not torch.is_autocast_enabled(input.device.type):
            return super().forward(input)
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input)


class Block(nn.Module):
    """`convs` times convolution, norm, nonlinearity; the first convolution strides. (B, C, X, Y, Z) in and out."""

    def __init__(self, spec: NetworkSpec, inputs: int, outputs: int, kernel: Int3, stride: Int3 = (1, 1, 1)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(spec.convs):
            layers += [
                Conv3d(inputs if i == 0 else outputs, outputs, kernel, stride if i == 0 else 1, _padding(kernel)),
                NORMS[spec.norm](outputs),
                NONLINEARITIES[spec.nonlinearity](),
            ]
        self.last = layers.pop()
        self.layers = nn.Sequential(*layers)
        self.dropout = nn.Dropout3d(spec.dropout) if spec.dropout else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        steps = [*self.layers, self.last]
        for conv, norm, activation in zip(steps[0::3], steps[1::3], steps[2::3], strict=True):
            x = normalise_and_activate(norm, activation, conv(x))
        result: Tensor = self.dropout(x)
        return result


class UNet(nn.Module):
    """Maps (B, in_channels, X, Y, Z) to logits (B, out_channels, X, Y, Z); each axis a multiple of `spec.reduction`.

    In training with deep supervision it returns a list: full resolution first, then coarser levels. `saving` names
    how it trains with less memory (see `savings`).
    """

    saving = "none"

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        depth = len(spec.filters)
        self.encoder = nn.ModuleList()
        self.pools = nn.ModuleList()
        inputs = spec.in_channels
        up_spec = replace(spec, convs=spec.convs_up, residual=False)
        for level, (filters, stride) in enumerate(zip(spec.filters, spec.strides, strict=True)):
            pooled = spec.downsample == "maxpool" and stride != (1, 1, 1)
            self.pools.append(MaxPool3d(stride, stride) if pooled else nn.Identity())
            self.encoder.append(_encoder_level(spec, level, inputs, (1, 1, 1) if pooled else stride))
            inputs = filters
        self.ups = nn.ModuleList()
        self.decoder = nn.ModuleList()
        self.heads = nn.ModuleList()
        for level in range(depth - 2, -1, -1):
            raised, filters = spec.raised_at(level), spec.filters[level]
            self.ups.append(UPSAMPLING[spec.upsample](spec.filters[level + 1], raised, spec.strides[level + 1]))
            self.decoder.append(Block(up_spec, raised + filters, filters, spec.kernels[level]))
            if level == 0 or level <= spec.deep_supervision:
                self.heads.append(nn.Conv3d(spec.filters[level], spec.out_channels, 1))
            else:
                self.heads.append(nn.Identity())
        if depth == 1:
            self.heads.append(nn.Conv3d(spec.filters[0], spec.out_channels, 1))
        self.apply(_initialise)
        for module in self.modules():
            if isinstance(module, ResidualBlock):
                module.start_as_shortcut()

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        if self.training and self.saving != "none":
            return frugal.run(self, x, self.saving)
        skips = []
        for pool, block in zip(self.pools, self.encoder, strict=True):
            x = block(pool(x))
            skips.append(x)
        coarse: list[Tensor] = []
        levels = len(self.ups)
        del skips[-1]  # the deepest is x itself; each of the others is let go once it is used
        for i, (up, block, head) in enumerate(zip(self.ups, self.decoder, self.heads, strict=False)):
            x = block(beside(up(x), skips.pop()))
            if self.training and i < levels - 1 and isinstance(head, nn.Conv3d):
                coarse.append(head(x))
        logits: Tensor = self.heads[-1](x)
        if self.training and self.spec.deep_supervision:
            return [logits, *coarse[::-1]]
        return logits


def _encoder_level(spec: NetworkSpec, level: int, inputs: int, stride: Int3) -> nn.Module:
    filters, kernel = spec.filters[level], spec.kernels[level]
    if not spec.residual:
        return Block(spec, inputs, filters, kernel, stride)
    made = Layers(kernel, spec.convs, NORMS[spec.norm], NONLINEARITIES[spec.nonlinearity], spec.dropout)
    return residual_level(spec.blocks_at(level), inputs, filters, stride, made, stem=level == 0)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
        nn.init.kaiming_normal_(module.weight, a=0.01)  # He et al. 2015
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def build(spec: NetworkSpec) -> UNet | Members:
    """The network of `spec` with fresh weights drawn from torch's global generator."""
    if spec.members == 1:
        return UNet(spec)
    return Members([UNet(replace(spec, members=1)) for _ in range(spec.members)])
