"""A trained U-Net whose ways up are merged with the convolutions behind them: fewer products, for a fixed network.

Nothing but a concatenation lies between a transposed convolution (or copies of each voxel) and the convolution that
follows it, and both are linear. So their product is one transposed convolution of the coarser level, and the skip gets
a convolution of its own; the two are added up. From stride 2 and 3^3 kernels it has 4^3 weights a pair of channels, of
which 8 meet in a voxel instead of 27: with half as many channels on the finer level a fifth of a level's products is
saved, and the concatenation.

The result is the same but for one thing: the bias of the way up. Convolution pads with zeros what lies outside of a
window, where there is no bias either; merged, the bias is everywhere. So logits within a few voxels of a window's
border differ a little where that bias is not 0; nothing else does.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn.functional import conv3d, conv_transpose3d

from decaseg.geometry import Int3, int3
from decaseg.nets.members import Members
from decaseg.nets.unet import Block, UNet

# Norms that are one more linear layer, or none. Before the others the sum stays in float, which in INT8 took a fifth
# longer than apart (benchmarks/int8).
PAYS = ("batch", "none")


class MergedUNet(nn.Module):
    """(B, in_channels, X, Y, Z) to logits (B, out_channels, X, Y, Z), as the `UNet` it was made of; for evaluation."""

    def __init__(self, net: UNet) -> None:
        super().__init__()
        self.pools, self.encoder, self.head = net.pools, net.encoder, net.heads[-1]
        self.ways_up = nn.ModuleList()
        levels = range(len(net.ups) - 1, -1, -1)
        for level, up, block in zip(levels, net.ups, net.decoder, strict=True):
            linear = _WayUp.of(up, net.spec.raised_at(level), net.spec.strides[level + 1])
            assert isinstance(block, Block)
            merge = _saves(linear, _first(block))
            self.ways_up.append(_Merged(linear, block) if merge else _Apart(up, block))

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for pool, block in zip(self.pools, self.encoder, strict=True):
            x = block(pool(x))
            skips.append(x)
        del skips[-1]
        for way_up in self.ways_up:
            x = way_up(x, skips.pop())
        logits: Tensor = self.head(x)
        return logits


class _Merged(nn.Module):
    """The coarser level's values and the skip to the finer level's: each by one linear layer, added up."""

    def __init__(self, up: _WayUp, block: Block) -> None:
        super().__init__()
        conv, norm = _first(block), block.layers[1]
        weight, bias = conv.weight.detach().double(), _or_zeros(conv.bias, conv.out_channels)
        from_up, from_skip = weight.split([len(up.bias), weight.shape[1] - len(up.bias)], dim=1)
        below = _product(up.weight, from_up)
        bias = bias + torch.einsum("ouxyz,u->o", from_up, up.bias)
        block = copy.deepcopy(block)
        block.layers[0] = nn.Identity()
        if isinstance(norm, nn.BatchNorm3d):  # one more linear layer
            scale, shift = _as_linear(norm)
            below, from_skip = below * scale[:, None, None, None], from_skip * scale[:, None, None, None, None]
            bias = bias * scale + shift
            block.layers[1] = nn.Identity()
        self.stride, self.padding = int3(up.weight.shape[2:]), int3(n // 2 for n in conv.kernel_size)
        self.below, self.beside = nn.Parameter(below.float()), nn.Parameter(from_skip.float())
        self.bias, self.rest = nn.Parameter(bias.float()), block

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        beside = conv3d(skip, self.beside, self.bias, padding=self.padding)
        below = conv_transpose3d(x, self.below, stride=self.stride, padding=self.padding)
        result: Tensor = self.rest(beside + below)
        return result


class _Apart(nn.Module):
    """The level as it was."""

    def __init__(self, up: nn.Module, block: Block) -> None:
        super().__init__()
        self.up, self.block = up, block

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        result: Tensor = self.block(torch.cat([self.up(x), skip], dim=1))
        return result


def merged(network: nn.Module) -> nn.Module:
    """The network `build` made, in evaluation, with its ways up merged; it shares the weights that stay as they are."""
    if isinstance(network, Members):
        return Members([merged(net) for net in network.nets]).eval()
    assert isinstance(network, UNet)
    return MergedUNet(network.eval()).eval()


def _saves(up: _WayUp, conv: nn.Conv3d) -> bool:
    """Whether merging takes fewer products a voxel of the finer level.

    Worked: 32 channels to 16 from stride 2 and 3^3: 8 x 32 instead of 27 x 16 + 32, each times 16.
    """
    taps, meeting = math.prod(conv.kernel_size), 1.0
    for stride, kernel in zip(up.weight.shape[2:], conv.kernel_size, strict=True):
        meeting *= (stride + kernel - 1) / stride
    inputs, raised = up.weight.shape[:2]
    return meeting * inputs < taps * raised + (0 if up.copies else inputs)


@dataclass(frozen=True, eq=False)
class _WayUp:
    """Weights (inputs, outputs, *stride) and bias (outputs), in double precision; `copies`: each voxel is repeated."""

    weight: Tensor
    bias: Tensor
    copies: bool

    @classmethod
    def of(cls, up: nn.Module, channels: int, stride: Int3) -> _WayUp:
        """`channels` and `stride` are those that the network's specification gives it."""
        if isinstance(up, nn.ConvTranspose3d):
            return cls(up.weight.detach().double(), _or_zeros(up.bias, up.out_channels), copies=False)
        same = torch.eye(channels, dtype=torch.double)[:, :, None, None, None].expand(-1, -1, *stride)
        return cls(same, _or_zeros(None, channels), copies=True)


def _first(block: Block) -> nn.Conv3d:
    conv = block.layers[0]
    assert isinstance(conv, nn.Conv3d)
    return conv


def _or_zeros(bias: Tensor | None, channels: int) -> Tensor:
    return torch.zeros(channels, dtype=torch.double) if bias is None else bias.detach().double()


def _as_linear(norm: nn.BatchNorm3d) -> tuple[Tensor, Tensor]:
    """A channel's factor and shift in evaluation."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.detach().double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return scale, norm.bias.detach().double() - norm.running_mean.double() * scale


def _product(up: Tensor, conv: Tensor) -> Tensor:
    """The transposed kernel (C, O, *(stride + kernel - 1)) of `up` (C, U, *stride), then `conv` (O, U, *kernel).

    Along an axis, voxel c puts its share p of `up` at s c + p, and weight t of `conv` brings it to s c + p - t + pad.
    A transposed convolution with the same padding brings weight k of its kernel to s c - pad + k: k = p - t + 2 pad.
    """
    strides, kernel = up.shape[2:], conv.shape[2:]
    made = up.new_zeros(up.shape[0], conv.shape[0], *(s + k - 1 for s, k in zip(strides, kernel, strict=True)))
    for a, b, c in product(*map(range, strides)):
        for i, j, k in product(*map(range, kernel)):
            x, y, z = (p - t + n - 1 for p, t, n in zip((a, b, c), (i, j, k), kernel, strict=True))
            made[:, :, x, y, z] += torch.einsum("cu,ou->co", up[:, :, a, b, c], conv[:, :, i, j, k])
    return made
