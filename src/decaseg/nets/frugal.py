"""Trains a `UNet` with little memory: the arithmetic of its `forward`, a sample at a time, with few maps kept.

Only what convolutions give is kept (or less, see `savings`). The backward pass makes what lies between them again,
part by part, which costs no convolution: one kept map for a norm and its nonlinearity, as in Rota Bulò et al. 2018,
though made again rather than inverted. What is not kept is made again from what is (Chen et al. 2016).

Batch norm couples the samples, so there every part runs over all samples before the next one begins:

    forward   mean and variance of each sample, merged into those of the batch (Chan et al. 1979);
    backward  with y = (x - mean) / std and g the gradient by what the norm gives, sums over all n voxels of the batch:
                  dx = weight / std * (g - sum(g) / n - y * sum(g y) / n).
              The first term is found sample by sample while the sums grow; the others are taken off when the sums are
              complete, that is when the part that made x has its turn.

Without batch norm nothing couples the samples, and each goes through the whole network by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from decaseg.nets.convolution import gradients
from decaseg.nets.norm import normalise_into
from decaseg.nets.parts import Cut, Map, Part
from decaseg.nets.savings import SAVINGS, Saving
from decaseg.nets.shared_norm import SharedBatchNorm


def run(network: Any, image: Tensor, saving: str) -> Tensor | list[Tensor]:
    """What `network(image)` gives in training, with the memory that `saving` (a key of `SAVINGS`) leaves it.

    Image is (B, C, X, Y, Z). Gradients reach the parameters, not the image. ValueError for an unknown saving, or one
    that this network cannot have.
    """
    if saving not in SAVINGS:
        raise ValueError(f"memory saving {saving!r}: choose one of none, {', '.join(SAVINGS)}")
    step = _Step(network, SAVINGS[saving], len(image))
    if step.coupled and step.saving.keeps_nothing:
        raise ValueError(f"memory saving {saving}: batch norm couples the samples; choose maps, blocks or half")
    logits: tuple[Tensor, ...] = _Function.apply(step, image, *step.parameters)
    return list(logits) if network.spec.deep_supervision else logits[0]


class _Function(torch.autograd.Function):
    """The whole step as one node of autograd's graph."""

    @staticmethod
    def forward(ctx: Any, step: _Step, image: Tensor, *parameters: nn.Parameter) -> tuple[Tensor, ...]:
        ctx.step = step
        return tuple(step.forward(image))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        step, ctx.step = ctx.step, None
        if step is None:
            raise RuntimeError("the maps of this step are gone: backward can run once")
        step.backward(gradients)
        return None, None, *(step.found.get(parameter) for parameter in step.parameters)


class _Step:
    """One forward and backward pass, and the maps in between."""

    def __init__(self, network: Any, saving: Saving, samples: int) -> None:
        self.saving, self.samples = saving, samples
        self.cut = Cut(network, saving)
        self.coupled = any(part.into.norm is not None for part in self.cut.parts)
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.found: dict[Tensor, Tensor] = {}

    def forward(self, image: Tensor) -> list[Tensor]:
        """The logits, finest first."""
        kind = image.device.type
        self.autocast = kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
        self.cut.image.dtype = image.dtype
        self.cut.image.samples = list(image.split(1))
        for mask in self.cut.masks:
            mask.draw(self.samples, image, self.autocast[1] if self.autocast[2] else image.dtype)
        for part in self.cut.parts:
            part.into.samples, part.into.gradients = [None] * self.samples, [None] * self.samples
        if self.coupled:
            for part in self.cut.parts:
                for i in range(self.samples):
                    self._run(part, i)
                self.cut.scratch.clear()
                if part.into.norm is not None:
                    _merge(part.into)
        else:
            for i in range(self.samples):
                for part in self.cut.parts:
                    self._run(part, i)
        logits = []
        for output in reversed(self.cut.outputs):
            logits.append(torch.cat([_there(sample) for sample in output.samples]))
            output.samples = [None] * self.samples
        return logits

    def backward(self, gradients: Sequence[Tensor]) -> None:
        """From the gradients by the logits, finest first, to those by the parameters, in `found`."""
        for output, gradient in zip(reversed(self.cut.outputs), gradients, strict=True):
            output.gradients = list(gradient.split(1))
        parts = self.cut.parts[::-1]
        if self.coupled:
            for part in parts:
                if part.into.norm is not None:
                    _sum_up(part.into)
                for i in range(self.samples):
                    self._run_back(part, i)
                self.cut.scratch.clear()
        else:
            for i in range(self.samples):
                for part in parts:
                    self._run_back(part, i)
            self.cut.scratch.clear()
        for part in parts:
            if part.into.norm is not None:
                self._add(part.into.norm.weight, _grad(part.into.weight))
                self._add(part.into.norm.bias, _grad(part.into.bias))

    def _run(self, part: Part, i: int) -> None:
        """Sample `i` through one part; what is not needed before the backward pass is let go."""
        sample = self._make(part, i)
        part.into.dtype, part.into.samples[i] = sample.dtype, sample
        if part.into.norm is not None:
            part.into.moments.append(_moments(sample, part.into.norm.weight.dtype))
        for source in part.sources:
            if source is self.cut.image:
                continue
            if not source.kept and source.last_use is part:
                source.samples[i] = None
            elif self.saving.half and source.first_use is part:
                source.samples[i] = _there(source.samples[i]).to(torch.bfloat16)

    def _run_back(self, part: Part, i: int) -> None:
        """The gradient by what `part` gave, on to its sources and parameters; sample `i` of its map is let go."""
        with self.cut.scratch.borrowed():
            self._back(part, i)

    def _back(self, part: Part, i: int) -> None:
        gradient, part.into.gradients[i] = _there(part.into.gradients[i]), None
        if part.into.norm is not None:
            gradient = self._complete(part.into, i, gradient)
        part.into.samples[i] = None
        raws = [self._sample(source, i).detach() for source in part.sources]
        leaves: list[Tensor] = []
        for source, raw in zip(part.sources, raws, strict=True):
            if source is not self.cut.image:
                leaves.append(raw.requires_grad_())
        inputs = [source for source in part.sources if source is not self.cut.image]
        norms = [source for source in inputs if source.norm is not None]
        parameters = [p for p in dict.fromkeys(part.between.parameters) if p.requires_grad]
        with torch.enable_grad(), self._precision():
            x = part.between.call(raws, i)
        if part.convolution is not None:
            by_input = self._convolution(part.convolution, x, gradient)
            if by_input is None:
                return
            gradient = by_input
        wanted = [*leaves, *(_there(n.weight) for n in norms), *(_there(n.bias) for n in norms), *parameters]
        found = list(torch.autograd.grad(x, wanted, gradient.to(x.dtype)))
        del x, gradient, raws, leaves
        given: set[int] = set()
        for source in inputs:
            one = found.pop(0)
            _give(source, i, one.clone() if one.data_ptr() in given else one)  # a sum hands both the same tensor
            given.add(one.data_ptr())
        for norm in norms:
            _gather(_there(norm.weight), found.pop(0))
        for norm in norms:
            _gather(_there(norm.bias), found.pop(0))
        for parameter in parameters:
            self._add(parameter, found.pop(0))

    def _make(self, part: Part, i: int) -> Tensor:
        raws = [self._sample(source, i) for source in part.sources]
        with torch.no_grad(), self._precision(), self.cut.scratch.borrowed():
            x = part.between.call(raws, i)
            return part.convolution(x) if part.convolution is not None else x

    def _sample(self, source: Map, i: int) -> Tensor:
        """Sample `i` of a map, made again and held where it was not kept."""
        if source.samples[i] is None:
            assert source.maker is not None
            source.samples[i] = self._make(source.maker, i)
        return _there(source.samples[i]).to(source.dtype)

    def _complete(self, normed: Map, i: int, gradient: Tensor) -> Tensor:
        """Takes off what the batch's mean and variance owe to sample `i`; `gradient` is overwritten."""
        assert normed.norm is not None
        assert normed.variance is not None
        assert normed.mean_gradient is not None
        factor = -_there(normed.weight).detach() * torch.rsqrt(normed.variance + normed.norm.eps)
        weight, bias = (factor * mean for mean in normed.mean_gradient)
        raw, eps, none = self._sample(normed, i), normed.norm.eps, weight.new_empty(0)
        if raw.device.type != "cpu":
            return gradient.add_(
                functional.batch_norm(raw, normed.mean, normed.variance, weight, bias, False, 0.0, eps)
            )
        with self.cut.scratch.borrowed():
            owed = self.cut.scratch.like(raw)
            normalise_into(
                raw, weight, bias, normed.mean, normed.variance, False, 0.0, eps,
                out=owed, save_mean=none, save_invstd=none,
            )  # fmt: skip
            return gradient.add_(owed)

    def _convolution(self, layer: nn.Conv3d, x: Tensor, gradient: Tensor) -> Tensor | None:
        """Gradients by a convolution's input (returned) and parameters (added), without running it again."""
        by_input, by_weight, by_bias = gradients(layer, x, gradient, x.requires_grad)
        self._add(layer.weight, by_weight)
        self._add(layer.bias, by_bias)
        return by_input

    def _add(self, parameter: Tensor | None, gradient: Tensor | None) -> None:
        """Sums in the parameter's own precision."""
        if parameter is None or gradient is None or not parameter.requires_grad:
            return
        gradient = gradient.to(parameter.dtype)
        self.found[parameter] = self.found[parameter].add_(gradient) if parameter in self.found else gradient

    def _precision(self) -> AbstractContextManager[object]:
        kind, dtype, enabled = self.autocast
        return torch.autocast(kind, dtype=dtype, enabled=enabled, cache_enabled=False)


def _moments(sample: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """(C,) mean and variance (divided by n) of one sample's channels, summed in `dtype` or better; float64."""
    if sample.device.type == "cpu":  # the kernel that batch norm itself uses, several times faster than var_mean
        zeros = torch.zeros(sample.shape[1], dtype=dtype)
        mean, variance = torch.batch_norm_update_stats(sample, zeros, zeros.clone(), 0.0)
    else:
        variance, mean = torch.var_mean(sample.to(dtype), (0, 2, 3, 4), correction=0)
    return mean.double(), variance.double()


def _merge(normed: Map) -> None:
    """The batch's statistics from its samples' (of all processes), and the norm's running ones from those."""
    norm = normed.norm
    assert norm is not None
    assert norm.momentum is not None
    means, variances = (torch.stack(values) for values in zip(*normed.moments, strict=True))
    first = _there(normed.samples[0])
    n = len(means) * first.numel() / first.shape[1]
    mean, variance = means.mean(0), variances.mean(0) + means.var(0, correction=0)
    if isinstance(norm, SharedBatchNorm):
        sums = norm.add(torch.stack([torch.full_like(mean, n), n * mean, n * (variance + mean**2)]))
        n, mean, variance = float(sums[0, 0]), sums[1] / sums[0], sums[2] / sums[0] - (sums[1] / sums[0]) ** 2
    kind = norm.weight.dtype
    normed.voxels, normed.mean, normed.variance = n, mean.to(kind), variance.to(kind)
    normed.weight, normed.bias = norm.weight.detach().requires_grad_(), norm.bias.detach().requires_grad_()
    if norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
        norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), norm.momentum)
        norm.running_var.lerp_((variance * n / max(n - 1, 1)).to(norm.running_var.dtype), norm.momentum)


def _sum_up(normed: Map) -> None:
    """The sums over the batch, now that they are complete, over all processes."""
    sums = torch.stack([_grad(normed.weight), _grad(normed.bias)])
    if isinstance(normed.norm, SharedBatchNorm):
        sums = normed.norm.add(sums.clone())
    weight, bias = sums / normed.voxels
    normed.mean_gradient = weight, bias


def _give(source: Map, i: int, gradient: Tensor) -> None:
    """Adds to the gradient by sample `i`; a view is copied, so that it holds no larger tensor and nobody else's."""
    before = source.gradients[i]
    if before is not None:
        before.add_(gradient)
    else:
        alone = gradient.untyped_storage().nbytes() == gradient.numel() * gradient.element_size()
        source.gradients[i] = gradient if alone else gradient.clone()


def _gather(leaf: Tensor, gradient: Tensor) -> None:
    leaf.grad = gradient if leaf.grad is None else leaf.grad.add_(gradient)


def _grad(leaf: Tensor | None) -> Tensor:
    assert leaf is not None
    assert leaf.grad is not None
    return leaf.grad


def _there(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return tensor
