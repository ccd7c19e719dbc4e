"""What a training needs at its peak, before it begins: arithmetic over the maps that each saving keeps. No torch.

A map is what one convolution gives; see docs/explanation/memory.md for the sums and benchmarks/memory/ for how far
they are from what was measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from decaseg.geometry import Int3
from decaseg.nets.savings import SAVINGS, Saving, savings_for
from decaseg.nets.spec import NetworkSpec

# The constants are fitted to the points in benchmarks/memory/.
LIBRARIES_GIB = 0.38  # interpreter, torch, the rest of the libraries
COPIES = 5  # of the weights: themselves, gradients, two of the optimiser, an average
# Without saving autograd also keeps what norms, nonlinearities and concatenations give, and freed blocks leave gaps:
PLAIN = 4.7  # times the convolutions' maps of each sample
# While a part runs backward: maps of the finest level, of one sample; where parts before it run again, theirs too.
WORK = {"maps": 3.5, "down": 3.5, "blocks": 7.5, "half": 7.5}
WORK_APART = 4.5  # where each sample goes by itself
BATCHES_AHEAD = 5  # in the queue, being cut, being augmented
LOGITS = 3  # logits, their gradient, the truth: float32 maps


@dataclass(frozen=True)
class _Maps:
    """Values a sample: all first convolutions of blocks on the way down and up, all `last` ones, one finest map."""

    first_down: float
    first_up: float
    last: float
    finest: float

    def kept(self, saving: str) -> float:
        """Values of convolutions that are kept."""
        if saving == "samples":
            return 0.0
        how = SAVINGS.get(saving, Saving(""))
        return self.last + self.first_down * how.keeps_first_down + self.first_up * how.keeps_first_up


def memory_gib(network: NetworkSpec, patch: Int3, batch: int, saving: str = "none", precision: str = "fp32") -> float:
    """GiB that the process needs at its peak, to about 15 % on a processor."""
    maps = _maps(network, patch)
    size = 2 if precision == "bf16" else 4
    if saving == "none":
        activations = batch * PLAIN * size * maps.kept("none")
    elif network.norm == "batch":
        alike = saving == "down" and not maps.first_up  # nothing is left that blocks makes again and down does not
        saving = "blocks" if alike else saving
        activations = batch * _coupled(maps, saving, size) + WORK[saving] * size * maps.finest
    else:
        activations = _apart(maps, batch, saving, size) + WORK_APART * size * maps.finest
    voxels = float(np.prod(patch))
    data = BATCHES_AHEAD * (4 * network.in_channels + 1) + LOGITS * 4 * network.out_channels
    return LIBRARIES_GIB + (COPIES * 4 * parameters(network) + activations + batch * voxels * data) / 2**30


def _coupled(maps: _Maps, saving: str, size: int) -> float:
    """Bytes a sample where batch norm couples them: what is kept, and the gradient by one finest map.

    With first convolutions made again, one finest of them takes the place of a last one that is done with.
    """
    if SAVINGS[saving].keeps_first_up:
        return size * (maps.kept(saving) + maps.finest)
    kept = min(size, 2) if SAVINGS[saving].half else size
    return kept * (maps.last - maps.finest) + size * 2 * maps.finest


def _apart(maps: _Maps, batch: int, saving: str, size: int) -> float:
    """Bytes of the whole batch where each sample goes by itself: what is kept of all, and one sample's rest."""
    return size * ((batch - 1) * maps.kept(saving) + maps.kept("none") + maps.finest)


def _maps(network: NetworkSpec, patch: Int3) -> _Maps:
    voxels, down, up, last = float(np.prod(patch)), 0.0, 0.0, 0.0
    depth = len(network.filters)
    for level, (filters, stride) in enumerate(zip(network.filters, network.strides, strict=True)):
        voxels /= float(np.prod(stride))
        if network.residual:
            down += filters * voxels * network.blocks_at(level) * network.convs
            last += filters * voxels * (network.blocks_at(level) + (level == 0))
        else:
            down += filters * voxels * (network.convs - 1)
            last += filters * voxels
        if level < depth - 1:
            up += filters * voxels * (network.convs_up - 1)
            last += filters * voxels
    return _Maps(down, up, last, network.filters[0] * float(np.prod(patch)))


def parameters(network: NetworkSpec) -> float:
    """About how many weights the convolutions have."""
    total, inputs = 0.0, network.in_channels
    for level, (filters, kernel) in enumerate(zip(network.filters, network.kernels, strict=True)):
        convolutions = network.convs * network.blocks_at(level)
        total += float(np.prod(kernel)) * filters * (inputs + (convolutions - 1) * filters)
        if level < len(network.filters) - 1:
            deeper = network.filters[level + 1]
            if network.upsample == "transposed":
                total += float(np.prod(network.strides[level + 1])) * deeper * filters
            inputs_up = network.raised_at(level) + filters
            total += float(np.prod(kernel)) * filters * (inputs_up + (network.convs_up - 1) * filters)
        inputs = filters
    return total * network.members


def least_saving(network: NetworkSpec, patch: Int3, batch: int, limit_gib: float, precision: str) -> str | None:
    """The first, that is the fastest, saving with which the training fits; None where none does."""
    for saving in savings_for(network.norm):
        if memory_gib(network, patch, batch, saving, precision) <= limit_gib:
            return saving
    return None


def most_patches(network: NetworkSpec, patch: Int3, batch: int, limit_gib: float, precision: str) -> int:
    """The largest batch up to `batch` that fits with some saving; 0 where not even one patch does."""
    return next((n for n in range(batch, 0, -1) if least_saving(network, patch, n, limit_gib, precision)), 0)


def refusal(plan: Any, batch: int, limit_gib: float, precision: str) -> str:
    """Says what a plan needs with every saving, and which batch, patch or memory would do; `batch` is a process's."""
    network, patch = plan.network, plan.patch
    needs = {name: memory_gib(network, patch, batch, name, precision) for name in savings_for(network.norm)}
    listed = ", ".join(
        f"{need:.1f} GiB {'without saving' if name == 'none' else 'with ' + SAVINGS[name].words}"
        for name, need in needs.items()
    )
    ways = []
    if fits := most_patches(network, patch, batch, limit_gib, precision):
        ways.append(f"--batch-size {fits}")
    if smaller := _smaller_patch(network, patch, batch, limit_gib, precision):
        ways.append(f"--patch {' '.join(map(str, smaller))}")
    ways.append(f"--memory {np.ceil(min(needs.values()) * 10) / 10:.1f} where there is as much")
    return (
        f"{batch} patches of {' x '.join(map(str, patch))} in {precision} need {listed}; {limit_gib:.1f} GiB may be "
        f"used; these would fit: {', or '.join(ways)}"
    )


def _smaller_patch(network: NetworkSpec, patch: Int3, batch: int, limit_gib: float, precision: str) -> Int3 | None:
    """The patch with its longest axes shortened step by step until the batch fits."""
    size, step = list(patch), network.reduction
    while True:
        axis = max(range(3), key=lambda a: size[a] / step[a] if size[a] > 2 * step[a] else 0)
        if size[axis] <= 2 * step[axis]:
            return None
        size[axis] -= step[axis]
        found = (size[0], size[1], size[2])
        if least_saving(network, found, batch, limit_gib, precision):
            return found
