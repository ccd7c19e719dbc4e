"""Residual levels of an encoder, as in nnU-Net's ResEnc (Isensee et al. 2024, arXiv:2404.09556)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from decaseg.geometry import Int3

ONE: Int3 = (1, 1, 1)


class ResidualBlock(nn.Module):
    """nonlinearity(norm(conv(…)) + shortcut); the first convolution strides. (B, C, X, Y, Z) in and out.

    The shortcut averages where the block strides and mixes channels where their number changes (He et al. 2019,
    ResNet-D). It begins as the shortcut alone: the last norm's weight starts at 0 (Goyal et al. 2017).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: Int3,
        stride: Int3,
        convs: int,
        new_norm: Callable[[int], nn.Module],
        new_activation: Callable[[], nn.Module],
    ) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        layers: list[nn.Module] = []
        for i in range(convs):
            layers.append(nn.Conv3d(outputs if i else inputs, outputs, kernel, ONE if i else stride, padding))
            layers.append(new_norm(outputs))
            if i < convs - 1:
                layers.append(new_activation())
        self.layers = nn.Sequential(*layers)
        self.shortcut = nn.Sequential()
        if stride != ONE:
            self.shortcut.append(nn.AvgPool3d(stride, stride))
        if inputs != outputs:
            self.shortcut.append(nn.Conv3d(inputs, outputs, 1, bias=False))
            self.shortcut.append(new_norm(outputs))
        self.activation = new_activation()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.activation(self.layers(x) + self.shortcut(x))
        return result

    def start_as_shortcut(self) -> None:
        """Sets the last norm's weight to 0; call it once weights are drawn."""
        weight = getattr(self.layers[-1], "weight", None)
        if weight is not None:
            nn.init.zeros_(weight)


def residual_level(
    blocks: int,
    inputs: int,
    outputs: int,
    kernel: Int3,
    stride: Int3,
    convs: int,
    new_norm: Callable[[int], nn.Module],
    new_activation: Callable[[], nn.Module],
    stem: bool,
    dropout: float,
) -> nn.Sequential:
    """`blocks` residual blocks, the first of which strides; a `stem` is one plain convolution before them."""
    level = nn.Sequential()
    if stem:
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        level.extend([nn.Conv3d(inputs, outputs, kernel, 1, padding), new_norm(outputs), new_activation()])
        inputs = outputs
    for _ in range(blocks):
        level.append(ResidualBlock(inputs, outputs, kernel, stride, convs, new_norm, new_activation))
        if dropout:
            level.append(nn.Dropout3d(dropout))
        inputs, stride = outputs, ONE
    return level
