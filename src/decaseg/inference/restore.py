"""From logits on the network's grid back to a label map on the image's own grid."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from decaseg.data.preprocess import Undo, from_ras
from decaseg.data.resample import resample_scalar
from decaseg.data.targets import Target
from decaseg.volume import Volume


def restore_labels(logits: NDArray[np.float32], target: Target, undo: Undo) -> Volume:
    """The label map, uint8, exactly on the grid of the image that was preprocessed.

    Logits are (K, X, Y, Z). They are brought to the image's spacing one class at a time, so that memory holds one
    more class map and not K. Outside of what was cropped lies background.
    """
    maps = _on_cropped_grid(logits, undo)
    labels = _paint_regions(maps, target, undo) if target.overlapping else _largest(maps, target, undo)
    return _into_volume(labels[None], undo, np.uint8(0))


def restore_probabilities(logits: NDArray[np.float32], target: Target, undo: Undo) -> Volume:
    """(structures, X, Y, Z) float32 probabilities on the image's grid, background left out; 0 outside the crop."""
    maps = np.stack(list(_on_cropped_grid(logits, undo)))
    if target.overlapping:
        from scipy.special import expit

        probabilities = expit(maps)  # without the overflow of 1 / (1 + exp(-x)) far from 0
    else:
        maps = np.exp(maps - maps.max(axis=0))
        probabilities = (maps / maps.sum(axis=0))[1:]
    return _into_volume(probabilities.astype(np.float32), undo, np.float32(0))


def _on_cropped_grid(logits: NDArray[np.float32], undo: Undo) -> Iterator[NDArray[np.float32]]:
    if logits.shape[1:] != undo.shape:
        raise ValueError(f"logits of shape {logits.shape[1:]} do not belong to a case of shape {undo.shape}")
    return (resample_scalar(one, undo.box.shape) for one in logits)


def _largest(maps: Iterator[NDArray[np.float32]], target: Target, undo: Undo) -> NDArray[np.uint8]:
    """Softmax: the class with the largest logit; ties go to the first."""
    best = next(maps).copy()
    labels = np.zeros(undo.box.shape, np.uint8)
    for value, one in zip(target.paint, maps, strict=True):
        wins = one > best
        labels[wins] = value
        np.maximum(best, one, out=best)
    return labels


def _paint_regions(maps: Iterator[NDArray[np.float32]], target: Target, undo: Undo) -> NDArray[np.uint8]:
    """Sigmoids: wherever probability exceeds 1/2 (logit above 0), painted in order, the last on top."""
    labels = np.zeros(undo.box.shape, np.uint8)
    for value, one in zip(target.paint, maps, strict=True):
        labels[one > 0] = value
    return labels


def _into_volume(array: NDArray, undo: Undo, outside: np.generic) -> Volume:
    full = np.full((array.shape[0], *undo.ras_shape), outside, dtype=array.dtype)
    full[(slice(None), *undo.box.slices)] = array
    return Volume(np.ascontiguousarray(from_ras(full, undo.grid)), undo.grid)
