"""A `UNet` cut into parts that each end with a convolution; `frugal` runs them a sample at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from decaseg.nets.residual import ResidualBlock
from decaseg.nets.savings import Saving
from decaseg.nets.skip import beside


@dataclass(frozen=True)
class Chain:
    """What lies between convolutions: from the samples of a part's sources, and the sample's number, to one tensor.

    `parameters` are those it uses, without batch norm's. `fresh`: the result is a new tensor, which the next layer
    may overwrite.
    """

    call: Callable[[Sequence[Tensor], int], Tensor]
    parameters: tuple[nn.Parameter, ...] = ()
    fresh: bool = False

    def then(self, layer: nn.Module) -> Chain:
        if isinstance(layer, nn.Identity):
            return self
        copy = getattr(layer, "inplace", False) and not self.fresh
        return Chain(
            lambda raws, i: layer(self.call(raws, i).clone() if copy else self.call(raws, i)),
            (*self.parameters, *layer.parameters()),
            True,
        )


RAW = Chain(lambda raws, _: raws[0])


@dataclass(eq=False)
class Map:
    """What one part gives for the whole batch: a tensor (1, C, X, Y, Z) a sample, None where it is not there.

    `norm` is the batch norm that follows, if one does; `mean`, `variance` and `voxels` (a channel) are the batch's,
    `weight` and `bias` the norm's, cut off, so that their gradients are this map's sums over the batch;
    `mean_gradient` are those sums a voxel, weight's and bias's.
    """

    kept: bool = True
    maker: Part | None = None
    first_use: Part | None = None
    last_use: Part | None = None
    dtype: torch.dtype = torch.float32
    samples: list[Tensor | None] = field(default_factory=list)
    gradients: list[Tensor | None] = field(default_factory=list)
    norm: _BatchNorm | None = None
    moments: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    mean: Tensor | None = None
    variance: Tensor | None = None
    weight: Tensor | None = None
    bias: Tensor | None = None
    voxels: float = 0.0
    mean_gradient: tuple[Tensor, Tensor] | None = None

    def normalise(self, raw: Tensor) -> Tensor:
        """Batch norm with the batch's statistics, which as far as autograd knows do not depend on `raw`."""
        assert self.norm is not None
        return functional.batch_norm(raw, self.mean, self.variance, self.weight, self.bias, False, 0.0, self.norm.eps)


@dataclass(eq=False)
class Part:
    """`between` over samples of `sources`, then `convolution` (None: nothing more), gives `into`."""

    sources: tuple[Map, ...]
    between: Chain
    convolution: nn.Conv3d | None
    into: Map


@dataclass
class Mask:
    """One draw of a block's dropout for the whole batch, (B, C, 1, 1, 1), the same when the forward pass repeats."""

    share: float
    channels: int
    value: Tensor | None = None

    def draw(self, samples: int, like: Tensor, dtype: torch.dtype) -> None:
        """As torch's own dropout of channels draws, so that equal seeds drop equal channels."""
        noise = torch.empty(samples, self.channels, 1, 1, 1, device=like.device, dtype=dtype)
        self.value = noise.bernoulli_(1 - self.share).div_(1 - self.share)


Place = tuple[tuple[Map, ...], Chain]  # where a tensor of the network is found: the chain over samples of the maps


class Cut:
    """The parts of `network` in the order of its forward pass; `outputs` are coarsest first, as they are found."""

    def __init__(self, network: Any, saving: Saving) -> None:
        self.saving = saving
        self.image = Map()
        self.parts: list[Part] = []
        self.outputs: list[Map] = []
        self.masks: list[Mask] = []
        self._channels = 0
        self._walk(network)
        for part in self.parts:
            for source in part.sources:
                source.first_use = source.first_use or part
                source.last_use = part

    def _walk(self, network: Any) -> None:
        """Mirrors `UNet.forward`."""
        place: Place = (self.image,), RAW
        skips = []
        for pool, level in zip(network.pools, network.encoder, strict=True):
            place = self._level(level, (place[0], place[1].then(pool)))
            skips.append(place)
        levels = len(network.ups)
        for i, (up, block) in enumerate(zip(network.ups, network.decoder, strict=True)):
            (low, low_chain), (skip, skip_chain) = place, skips[levels - 1 - i]
            place = self._level(block, ((*low, *skip), _both(beside, low_chain.then(up), skip_chain, len(low))))
            if i < levels - 1 and isinstance(network.heads[i], nn.Conv3d):
                self.outputs.append(self._part(place, network.heads[i]))
        self.outputs.append(self._part(place, network.heads[-1]))

    def _level(self, level: nn.Module, place: Place) -> Place:
        """Adds the parts of an encoder's or decoder's level; returns where its output is found."""
        if isinstance(level, nn.Sequential):
            return self._layers(list(level), place)
        assert isinstance(level.layers, nn.Sequential)
        rest = [layer for layer in (level.last, level.dropout) if isinstance(layer, nn.Module)]
        return self._layers([*level.layers, *rest], place)

    def _layers(self, layers: Sequence[nn.Module], place: Place, keep_last: bool = True) -> Place:
        """Adds the parts of layers in a row; a convolution after which no other comes is kept if `keep_last`."""
        convolutions = [layer for layer in layers if isinstance(layer, nn.Conv3d | ResidualBlock)]
        for layer in layers:
            sources, chain = place
            if isinstance(layer, nn.Conv3d):
                kept = self.saving.keeps_first or (keep_last and layer is convolutions[-1])
                place = (self._part(place, layer, kept),), RAW
                self._channels = layer.out_channels
            elif isinstance(layer, ResidualBlock):
                place = self._residual(layer, place)
            elif isinstance(layer, _BatchNorm):
                sources[0].norm = layer
                place = sources, Chain(_normalised(sources[0]), (), True)
            elif isinstance(layer, nn.Dropout3d):
                mask = Mask(layer.p, self._channels)
                self.masks.append(mask)
                place = sources, Chain(_masked(chain, mask), chain.parameters, True)
            else:
                place = sources, chain.then(layer)
        return place

    def _residual(self, block: ResidualBlock, place: Place) -> Place:
        """Keeps the block's output, since the next block needs it twice; what lies inside may be made again."""
        (inner, chain) = self._layers(list(block.layers), place, keep_last=False)
        channels = self._channels
        (outer, shortcut) = self._layers(list(block.shortcut), place, keep_last=False)
        self._channels = channels
        both = _both(torch.add, chain, shortcut, len(inner)).then(block.activation)
        return (self._part(((*inner, *outer), both), None),), RAW

    def _part(self, place: Place, convolution: nn.Conv3d | None, kept: bool = True) -> Map:
        into = Map(kept and not self.saving.keeps_nothing)
        into.maker = Part(*place, convolution, into)
        self.parts.append(into.maker)
        return into


def _normalised(source: Map) -> Callable[[Sequence[Tensor], int], Tensor]:
    return lambda raws, _: source.normalise(raws[0])


def _masked(chain: Chain, mask: Mask) -> Callable[[Sequence[Tensor], int], Tensor]:
    def call(raws: Sequence[Tensor], i: int) -> Tensor:
        assert mask.value is not None
        return chain.call(raws, i) * mask.value[i : i + 1]

    return call


def _both(join: Callable[[Tensor, Tensor], Tensor], one: Chain, two: Chain, split: int) -> Chain:
    """`join` of what two chains give; the first `split` sources are the first one's."""
    return Chain(
        lambda raws, i: join(one.call(raws[:split], i), two.call(raws[split:], i)),
        (*one.parameters, *two.parameters),
        True,
    )
