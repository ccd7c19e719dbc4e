"""Residual levels of an encoder, as in nnU-Net's ResEnc (Isensee et al. 2024, arXiv:2404.09556)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from decaseg.geometry import Int3, int3
from decaseg.nets.convolution import Conv3d

ONE: Int3 = (1, 1, 1)


@dataclass(frozen=True)
class Layers:
    """What the blocks of a level are made of."""

    kernel: Int3
    convs: int
    new_norm: Callable[[int], nn.Module]
    new_activation: Callable[[], nn.Module]
    dropout: float

    def convolution(self, inputs: int, outputs: int, stride: Int3) -> Conv3d:
        return Conv3d(inputs, outputs, self.kernel, stride, int3(k // 2 for k in self.kernel))


class ResidualBlock(nn.Module):
    """nonlinearity(norm(conv(…)) + shortcut); the first convolution strides. (B, C, X, Y, Z) in and out.

    The shortcut averages where the block strides and mixes channels where their number changes (He et al. 2019,
    ResNet-D). It begins as the shortcut alone: the last norm's weight starts at 0 (Goyal et al. 2017).
    """

    def __init__(self, inputs: int, outputs: int, stride: Int3, made: Layers) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(made.convs):
            layers.append(made.convolution(outputs if i else inputs, outputs, ONE if i else stride))
            layers.append(made.new_norm(outputs))
            if i < made.convs - 1:
                layers.append(made.new_activation())
        self.layers = nn.Sequential(*layers)
        self.shortcut = nn.Sequential()
        if stride != ONE:
            self.shortcut.append(nn.AvgPool3d(stride, stride))
        if inputs != outputs:
            self.shortcut.append(nn.Conv3d(inputs, outputs, 1, bias=False))
            self.shortcut.append(made.new_norm(outputs))
        self.activation = made.new_activation()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.activation(self.layers(x) + self.shortcut(x))
        return result

    def start_as_shortcut(self) -> None:
        """Sets the last norm's weight to 0; call it once weights are drawn."""
        weight = getattr(self.layers[-1], "weight", None)
        if weight is not None:
            nn.init.zeros_(weight)


def residual_level(blocks: int, inputs: int, outputs: int, stride: Int3, made: Layers, stem: bool) -> nn.Sequential:
    """`blocks` residual blocks, the first of which strides; a `stem` is one plain convolution before them."""
    level = nn.Sequential()
    if stem:
        level.extend([made.convolution(inputs, outputs, ONE), made.new_norm(outputs), made.new_activation()])
        inputs = outputs
    for _ in range(blocks):
        level.append(ResidualBlock(inputs, outputs, stride, made))
        if made.dropout:
            level.append(nn.Dropout3d(made.dropout))
        inputs, stride = outputs, ONE
    return level
