"""Several networks as one: their probabilities averaged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from decaseg.data.targets import Target
from decaseg.inference.restore import probabilities
from decaseg.inference.windows import Slab

TINY = np.float32(1e-12)  # a probability of 0 in float32 has no logarithm


def averaged(members: Sequence[Iterator[Slab]], target: Target) -> Iterator[Slab]:
    """Slabs whose probabilities are the members' mean; the members' slabs begin and end at the same places.

    One member's pass unchanged. Means are handed on as logits (log p; log p/(1-p) for overlapping regions), so that
    all that follows treats an ensemble as one network.
    """
    if len(members) == 1:
        yield from members[0]
        return
    for parts in zip(*members, strict=True):
        mean: NDArray[np.float32] = probabilities(parts[0].logits, target)
        for part in parts[1:]:
            mean += probabilities(part.logits, target)
        mean /= len(parts)
        logits = np.log(np.maximum(mean, TINY))
        if target.overlapping:
            logits -= np.log(np.maximum(1 - mean, TINY))
        yield Slab(parts[0].axis, parts[0].start, logits)
