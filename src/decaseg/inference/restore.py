"""From logits on the network's grid back to label maps on the image's own grid, slab by slab.

A linear interpolation needs two neighbours only, so a slab of logits becomes labels as soon as it is finished: what is
held is a slab, never all class maps. Where the grids are the same no class map is resampled at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from decaseg.data.preprocess import Undo, to_ras
from decaseg.data.resample import Places
from decaseg.data.targets import Target
from decaseg.inference.windows import Slab, along
from decaseg.volume import Volume

TINY = np.float32(1e-30)  # 0 has no logarithm
PIECE_VOXELS = 1 << 21  # of the image's grid that are brought back at a time


@dataclass(frozen=True)
class Wanted:
    """What a prediction has besides the labels.

    `watch` is shown the probabilities as they come by, (structures, X, Y, Z), with what cuts their place out of the
    cropped volume whose axes run right, anterior, superior.
    """

    probabilities: bool = False
    uncertainty: bool = False
    watch: Callable[[tuple[slice, ...], NDArray[np.float32]], None] | None = None


@dataclass(frozen=True)
class Restored:
    """Labels (1, X, Y, Z) uint8 and, where wanted, probabilities (structures, …) and uncertainty (1, …), float32."""

    labels: Volume
    probabilities: Volume | None = None
    uncertainty: Volume | None = None


def restore(parts: Iterable[Slab], target: Target, undo: Undo, wanted: Wanted = Wanted()) -> Restored:
    """Label map and what else is wanted, exactly on the grid of the image that was preprocessed.

    Outside of what was cropped lies background: label 0, probability 0, uncertainty 0. ValueError where the slabs are
    those of another case.
    """
    maps = _Maps(target, undo, wanted)
    for axis, start, scores in _pieces(parts, undo):
        maps.paint(axis, start, scores)
    return maps.restored()


def restore_labels(logits: NDArray[np.float32], target: Target, undo: Undo) -> Volume:
    """The label map of logits (K, X, Y, Z) that are all there."""
    return restore([Slab(0, 0, logits)], target, undo).labels


def restore_probabilities(logits: NDArray[np.float32], target: Target, undo: Undo) -> Volume:
    """(structures, X, Y, Z) probabilities of logits (K, X, Y, Z) that are all there, background left out."""
    found = restore([Slab(0, 0, logits)], target, undo, Wanted(probabilities=True)).probabilities
    assert found is not None
    return found


@dataclass
class _Maps:
    """The full maps in the file's own memory order, filled through views that are turned to RAS and cropped."""

    target: Target
    undo: Undo
    wanted: Wanted
    full: dict[str, NDArray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = self.undo.grid.shape
        self.full["labels"] = np.zeros((1, *shape), np.uint8)
        if self.wanted.probabilities:
            self.full["probabilities"] = np.zeros((len(self.target.structures), *shape), np.float32)
        if self.wanted.uncertainty:
            self.full["uncertainty"] = np.zeros((1, *shape), np.float32)
        cut = (slice(None), *self.undo.box.slices)
        self._views = {name: to_ras(array, self.undo.grid)[cut] for name, array in self.full.items()}

    def paint(self, axis: int, start: int, scores: NDArray[np.float32]) -> None:
        """`scores` (K, X, Y, Z) are logits of the slices from `start` on, on the image's grid inside the crop."""
        place = along(axis, start, start + scores.shape[1 + axis])
        paint = _paint_regions if self.target.overlapping else _paint_largest
        paint(scores, self.target.paint, self._views["labels"][place][0])
        if self.wanted.probabilities or self.wanted.uncertainty or self.wanted.watch is not None:
            shares = probabilities(scores, self.target)
            named = shares[0 if self.target.overlapping else 1 :]
            if self.wanted.probabilities:
                self._views["probabilities"][place] = named
            if self.wanted.watch is not None:
                self.wanted.watch(place, named)
            if self.wanted.uncertainty:
                self._views["uncertainty"][place][0] = uncertainty(shares, self.target)

    def restored(self) -> Restored:
        return Restored(**{name: Volume(array, self.undo.grid) for name, array in self.full.items()})


def probabilities(logits: NDArray[np.float32], target: Target) -> NDArray[np.float32]:
    """(K, …) logits to (K, …) probabilities: softmax over the classes, or a sigmoid each for overlapping regions."""
    if target.overlapping:
        small = np.exp(-np.abs(logits))  # never above 1: exp(-x) overflows far below 0
        return np.where(logits >= 0, 1, small) / (1 + small)
    shares = np.exp(logits - logits.max(axis=0))
    shares /= shares.sum(axis=0)
    return shares


def uncertainty(shares: NDArray[np.float32], target: Target) -> NDArray[np.float32]:
    """Entropy of probabilities (K, X, Y, Z), from 0 (certain) to 1 (all alike): (X, Y, Z).

    Softmax: -sum p log p / log K. Overlapping regions: the largest of the regions' binary entropies, in bits.
    """
    if target.overlapping:
        return np.asarray(((_entropy(shares) + _entropy(1 - shares)) / np.log(2)).max(axis=0), np.float32)
    return np.asarray(np.minimum(_entropy(shares).sum(axis=0) / np.log(len(shares)), 1), np.float32)


def _entropy(shares: NDArray[np.float32]) -> NDArray[np.float32]:
    """-p log p, which is 0 at 0."""
    return -shares * np.log(np.maximum(shares, TINY))


def _paint_largest(scores: NDArray[np.float32], values: tuple[int, ...], labels: NDArray[np.uint8]) -> None:
    """Softmax: the class with the largest logit; ties go to the first."""
    best = scores[0].copy()
    for value, one in zip(values, scores[1:], strict=True):
        np.copyto(labels, np.uint8(value), where=one > best)
        np.maximum(best, one, out=best)


def _paint_regions(scores: NDArray[np.float32], values: tuple[int, ...], labels: NDArray[np.uint8]) -> None:
    """Sigmoids: wherever probability exceeds 1/2 (logit above 0), painted in order, the last on top."""
    for value, one in zip(values, scores, strict=True):
        np.copyto(labels, np.uint8(value), where=one > 0)


def _pieces(parts: Iterable[Slab], undo: Undo) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """Slabs on the network's grid to pieces on the cropped image's: axis, first slice, logits (K, X, Y, Z)."""
    wanted = undo.box.shape
    places = [Places.of(n, w) for n, w in zip(undo.shape, wanted, strict=True)]
    ready, waiting = 0, None  # slices given so far; the last slice seen, which the next slab's first ones need
    seen = 0
    for slab in parts:
        axis, logits = slab.axis, slab.logits
        shape = [n if a != axis else logits.shape[1 + a] for a, n in enumerate(undo.shape)]
        if list(logits.shape[1:]) != shape or slab.start != seen or seen + shape[axis] > undo.shape[axis]:
            raise ValueError(f"logits of shape {logits.shape[1:]} do not belong to a case of shape {undo.shape}")
        if undo.shape == wanted:
            yield axis, seen, logits
            seen += shape[axis]
            continue
        held = logits if waiting is None else np.concatenate([waiting, logits], axis=1 + axis)
        first, seen = seen - (0 if waiting is None else 1), seen + shape[axis]
        reach = int(np.searchsorted(places[axis].high, seen)) if seen < undo.shape[axis] else wanted[axis]
        depth = max(1, PIECE_VOXELS // int(np.prod([n for a, n in enumerate(wanted) if a != axis])))
        for start in range(ready, reach, depth):
            stop = min(start + depth, reach)
            piece = places[axis].part(start, stop, first)
            cut = along(axis, int(piece.low[0]), int(piece.high[-1]) + 1)
            yield axis, start, _resampled(held[cut], places, axis, piece.part(0, stop - start, int(piece.low[0])))
        ready = reach
        waiting = held[along(axis, held.shape[1 + axis] - 1, held.shape[1 + axis])].copy()
    if seen == 0 or seen != undo.shape[axis]:
        raise ValueError(f"logits of {seen} slices do not belong to a case of shape {undo.shape}")


def _resampled(logits: NDArray[np.float32], places: list[Places], axis: int, piece: Places) -> NDArray[np.float32]:
    """Linear interpolation along the three axes, a class at a time."""
    here = [piece if a == axis else p for a, p in enumerate(places)]
    out = np.empty((logits.shape[0], *(len(p.low) for p in here)), np.float32)
    for one, result in zip(logits, out, strict=True):
        for a, place in enumerate(here):
            one = place(one, a)
        result[:] = one
    return out
