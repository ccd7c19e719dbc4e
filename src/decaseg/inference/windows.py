"""Sliding-window prediction of a whole volume, with Gaussian weights where windows overlap.

The windows, weights and averaging of logits are those of nnU-Net and of MONAI's `sliding_window_inference`. What
differs is memory: windows go along one axis row by row, and what no later row touches leaves as a finished slab.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from decaseg.geometry import Int3, int3

Infer = Callable[[NDArray[np.float32]], NDArray[np.float32]]
OnWindow = Callable[[int, int], None]
GAUSSIAN_SIGMA = 0.125  # of the window's length, as in nnU-Net and MONAI


def window_starts(size: int, window: int, step: float) -> list[int]:
    """Starts of windows along one axis: evenly spread, at most `step` windows apart, the ends covered.

    >>> window_starts(100, 40, 0.5)
    [0, 20, 40, 60]
    """
    if not 0 < step <= 1:
        raise ValueError(f"--step {step}: must be above 0 and at most 1")
    if size <= window:
        return [0]
    count = int(np.ceil((size - window) / max(window * step, 1))) + 1
    return [round(i * (size - window) / (count - 1)) for i in range(count)]


@lru_cache(maxsize=8)
def gaussian_weights(window: Int3) -> NDArray[np.float32]:
    """(X, Y, Z) weights that trust the middle of a window: a Gaussian of an eighth of its length.

    Nowhere below a thousandth, so that voxels seen only at a window's edge still get a clear answer.
    """
    axes = [
        np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (n * GAUSSIAN_SIGMA)) ** 2).astype(np.float32) for n in window
    ]
    weights = axes[0][:, None, None] * axes[1][None, :, None] * axes[2][None, None, :]
    weights = np.maximum(weights, np.float32(1e-3))
    weights.setflags(write=False)
    return weights


@dataclass(frozen=True)
class Windows:
    """Where windows lie in a volume of shape `size`: `starts` along each axis of the volume padded to `padded`.

    A volume smaller than the window is padded by `before` in front and cut back. `axis` is the one along which slabs
    finish: the one that leaves the smallest slabs in memory.
    """

    size: Int3
    window: Int3
    padded: Int3
    before: Int3
    starts: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    axis: int

    @classmethod
    def over(cls, size: Int3, window: Int3, step: float) -> Windows:
        """nnU-Net's placement: evenly spread, both ends covered."""
        padded = int3(max(n, w) for n, w in zip(size, window, strict=True))
        x, y, z = (tuple(window_starts(n, w, step)) for n, w in zip(padded, window, strict=True))
        return cls.at(size, window, (x, y, z))

    @classmethod
    def at(cls, size: Int3, window: Int3, starts: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]) -> Windows:
        """Windows at starts of one's own, in rising order along each axis, which must cover the volume."""
        padded = int3(max(n, w) for n, w in zip(size, window, strict=True))
        before = int3((p - n) // 2 for p, n in zip(padded, size, strict=True))
        held = [w / n for w, n in zip(window, padded, strict=True)]  # share of the volume that a row of windows spans
        return cls(size, window, padded, before, starts, int(np.argmin(held)))

    @property
    def count(self) -> int:
        return int(np.prod([len(s) for s in self.starts]))

    def row(self, start: int) -> list[Int3]:
        """Starts of the windows that begin at `start` along the axis of the slabs."""
        return [int3(s) for s in product(*([start] if a == self.axis else s for a, s in enumerate(self.starts)))]


@dataclass(frozen=True)
class Slab:
    """Finished logits (K, X, Y, Z) of the slices from `start` on along `axis`; all of the other two axes.

    The array is lent: it holds these values only until the next slab is asked for.
    """

    axis: int
    start: int
    logits: NDArray[np.float32]


def slabs(
    image: NDArray[np.float32],
    windows: Windows,
    infer: Infer,
    batch_size: int = 1,
    on_window: OnWindow | None = None,
    present: NDArray[np.bool_] | None = None,
    nothing: Sequence[float] = (),
) -> Iterator[Slab]:
    """The logits of a (C, X, Y, Z) image as slabs in rising order; `infer` maps (B, C, *window) to (B, K, *window).

    Where `present` (X, Y, Z) is given, windows in which it is nowhere true are not computed; voxels that lie in no
    other window get the logits `nothing`, one a class. Memory: the image, K + 1 float32 volumes as thick as a window
    along the slabs' axis, and what `infer` takes for a batch.
    """
    axis, window = windows.axis, windows.window
    after = [p - n - b for p, n, b in zip(windows.padded, windows.size, windows.before, strict=True)]
    if windows.padded != windows.size:
        pads = list(zip(windows.before, after, strict=True))
        image = np.pad(image, [(0, 0), *pads])
        present = None if present is None else np.pad(present, pads)
    weights = gaussian_weights(window)
    rows = windows.starts[axis]
    thick = int3(window[a] if a == axis else n for a, n in enumerate(windows.padded))
    total: NDArray[np.float32] | None = np.zeros((len(nothing), *thick), np.float32) if nothing else None
    weight_sum = np.zeros(thick, np.float32)
    done = 0
    for start, following in pairwise((*rows, windows.padded[axis])):
        places = [_slices(s, window) for s in windows.row(start)]
        full = [p for p in places if present is None or present[p].any()]
        done += len(places) - len(full)
        for first in range(0, len(full), batch_size):
            some = full[first : first + batch_size]
            logits = infer(np.stack([image[(slice(None), *place)] for place in some]))
            if total is not None and len(total) != logits.shape[1]:
                raise ValueError(
                    f"the model gives {logits.shape[1]} classes, its plan names {len(total)}; export again"
                )
            if total is None:
                total = np.zeros((logits.shape[1], *thick), np.float32)
            for place, one in zip(some, logits, strict=True):
                inside = tuple(slice(0, window[a]) if a == axis else p for a, p in enumerate(place))
                for sums, values in zip(total, one, strict=True):
                    sums[inside] += values * weights
                weight_sum[inside] += weights
            done += len(some)
            if on_window:
                on_window(done, windows.count)
        if on_window and not full:
            on_window(done, windows.count)
        assert total is not None
        _finish(total, weight_sum, axis, following - start, nothing)
        yield _cut(total, windows, start, following)
        _move_on(total, axis, following - start)
        _move_on(weight_sum[None], axis, following - start)


def slide(
    image: NDArray[np.float32],
    window: Int3,
    infer: Infer,
    step: float = 0.5,
    batch_size: int = 1,
    on_window: OnWindow | None = None,
) -> NDArray[np.float32]:
    """All logits (K, X, Y, Z) of a (C, X, Y, Z) image at once; see `slabs`."""
    windows = Windows.over(int3(image.shape[1:]), window, step)
    return whole(slabs(image, windows, infer, batch_size, on_window), windows.size)


def whole(parts: Iterator[Slab], size: Int3) -> NDArray[np.float32]:
    """The slabs put together, (K, X, Y, Z)."""
    logits: NDArray[np.float32] | None = None
    for slab in parts:
        if logits is None:
            logits = np.empty((slab.logits.shape[0], *size), np.float32)
        logits[along(slab.axis, slab.start, slab.start + slab.logits.shape[1 + slab.axis])] = slab.logits
    assert logits is not None
    return logits


def along(axis: int, start: int, stop: int) -> tuple[slice, ...]:
    """What cuts the slices from `start` to `stop` along a spatial axis out of a (K, X, Y, Z) array."""
    return (slice(None), *(slice(start, stop) if a == axis else slice(None) for a in range(3)))


def _finish(
    total: NDArray[np.float32], weight_sum: NDArray[np.float32], axis: int, count: int, nothing: Sequence[float]
) -> None:
    """Turns the first `count` slices of sums into means, in place."""
    cut = along(axis, 0, count)
    weight = weight_sum[cut[1:]]
    unseen = weight == 0
    if unseen.any():
        for sums, value in zip(total[cut], nothing, strict=True):
            sums[unseen] = value
        weight[unseen] = 1
    for sums in total[cut]:
        sums /= weight


def _cut(total: NDArray[np.float32], windows: Windows, start: int, following: int) -> Slab:
    """The finished slices without the padding."""
    axis = windows.axis
    low, high = (
        min(max(s - windows.before[axis], 0), windows.size[axis]) for s in (start, following)
    )  # the padding is shared between both ends
    first = low + windows.before[axis] - start
    inner = [slice(b, b + n) for b, n in zip(windows.before, windows.size, strict=True)]
    inner[axis] = slice(first, first + high - low)
    return Slab(axis, low, total[(slice(None), *inner)])


def _move_on(total: NDArray[np.float32], axis: int, count: int) -> None:
    """Drops the first `count` slices along the axis: the rest moves up, zeros come behind."""
    size = total.shape[1 + axis]
    for sums in total:  # one class at a time: what overlaps is copied first
        if count < size:
            sums[along(axis, 0, size - count)[1:]] = sums[along(axis, count, size)[1:]].copy()
        sums[along(axis, max(size - count, 0), size)[1:]] = 0


def _slices(start: Sequence[int], window: Int3) -> tuple[slice, ...]:
    return tuple(slice(s, s + w) for s, w in zip(int3(start), window, strict=True))
