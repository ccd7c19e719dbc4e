"""A `UNet` cut into parts that each end with a convolution; `frugal` runs them a sample at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from decaseg.nets.norm import normalise_into, slope_of
from decaseg.nets.residual import ResidualBlock
from decaseg.nets.savings import Saving
from decaseg.nets.scratch import Scratch
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

    def normalise(self, raw: Tensor, slope: float | None, scratch: Scratch) -> Tensor:
        """Batch norm with the batch's statistics, then (leaky) ReLU with `slope` below zero, or nothing for None.

        As far as autograd knows the statistics do not depend on `raw`.
        """
        assert self.norm is not None
        if raw.device.type == "cpu":
            values = self.weight, self.bias, self.mean, self.variance
            result: Tensor = _Normalised.apply(raw, *values, self.norm.eps, slope, scratch)
            return result
        normed = functional.batch_norm(raw, self.mean, self.variance, self.weight, self.bias, False, 0.0, self.norm.eps)
        return normed if slope is None else functional.leaky_relu_(normed, slope)


class _Normalised(torch.autograd.Function):
    """`Map.normalise` with all that does not outlive a part in scratch."""

    @staticmethod
    def forward(
        ctx: Any,
        raw: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        eps: float,
        slope: float | None,
        scratch: Scratch,
    ) -> Tensor:
        out, none = scratch.like(raw), mean.new_empty(0)
        normalise_into(raw, weight, bias, mean, variance, False, 0.0, eps, out=out, save_mean=none, save_invstd=none)
        if slope is not None:
            functional.leaky_relu_(out, slope)
        ctx.save_for_backward(raw, weight, mean, variance)
        ctx.rest = out, eps, slope, scratch
        return out.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        raw, weight, mean, variance = ctx.saved_tensors
        out, eps, slope, scratch = ctx.rest
        gradient = gradients[0]
        if slope is not None:
            below = scratch.like(raw)
            gradient = torch.ops.aten.leaky_relu_backward.grad_input(gradient, out, slope, True, grad_input=below)
        found = torch.ops.aten.native_batch_norm_backward(
            gradient, raw, weight, mean, variance, None, None, False, eps, [True, True, True]
        )
        return *found, None, None, None, None, None


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
        self.scratch = Scratch()
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
        self._keeps_first = self.saving.keeps_first_down
        for pool, level in zip(network.pools, network.encoder, strict=True):
            place = self._level(level, (place[0], place[1].then(pool)))
            skips.append(place)
        levels = len(network.ups)
        self._keeps_first = self.saving.keeps_first_up
        for i, (up, block) in enumerate(zip(network.ups, network.decoder, strict=True)):
            (low, low_chain), (skip, skip_chain) = place, skips[levels - 1 - i]
            place = self._level(block, ((*low, *skip), _both(self._beside, low_chain.then(up), skip_chain, len(low))))
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
        done: nn.Module | None = None
        for layer, following in pairwise((*layers, None)):
            if layer is None or layer is done:
                continue
            sources, chain = place
            if isinstance(layer, nn.Conv3d):
                kept = self._keeps_first or (keep_last and layer is convolutions[-1])
                place = (self._part(place, layer, kept),), RAW
                self._channels = layer.out_channels
            elif isinstance(layer, ResidualBlock):
                place = self._residual(layer, place)
            elif isinstance(layer, _BatchNorm):
                sources[0].norm = layer
                slope = None if following is None else slope_of(following)
                done = None if slope is None else following
                place = sources, Chain(self._normalised(sources[0], slope), (), True)
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

    def _normalised(self, source: Map, slope: float | None) -> Callable[[Sequence[Tensor], int], Tensor]:
        return lambda raws, _: source.normalise(raws[0], slope, self.scratch)

    def _beside(self, low: Tensor, skip: Tensor) -> Tensor:
        return beside(low, skip, self.scratch)

    def _part(self, place: Place, convolution: nn.Conv3d | None, kept: bool = True) -> Map:
        into = Map(kept and not self.saving.keeps_nothing)
        into.maker = Part(*place, convolution, into)
        self.parts.append(into.maker)
        return into


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
