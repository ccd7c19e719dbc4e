"""Whether an image is what a model for skull-stripped brains expects, told by its outline before anything is predicted.

The outline of all voxels that are not background is laid into its bounding box, sampled coarsely, and compared with
the average outline of generated brains in all 48 ways in which an array can lie. A brain is longer from front to back
than wide, narrows to the stem below and to the poles in front, so that a header that turns or flips it shows. Left and
right are alike at this grain: that they are swapped cannot be seen here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations, product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decaseg.geometry import Int3
from decaseg.volume import Volume

AVERAGE = Path(__file__).resolve().parent / "brain_outline.npy"
COARSE: Int3 = (14, 16, 14)
VOLUME_ML = (600.0, 2500.0)  # stripped adult brains with their fluid have 1000 to 1800 ml, whole heads 3000 and more
LENGTH_MM = ((95.0, 185.0), (115.0, 225.0), (75.0, 200.0))  # left-right, back-front, foot-head; scans may be cropped
ALIKE = 0.6  # correlation of outlines below which nothing speaks for a brain; brains reach 0.8 and more
DOUBTFUL, CLEARLY = 0.015, 0.05  # by so much another way of lying fits better where the header is doubted, is wrong
FULL = 0.93  # share of its box that no brain fills


@dataclass(frozen=True)
class Finding:
    """`refuse`: a mask of this image would be made up. `text` says what is wrong and the way out."""

    text: str
    refuse: bool


def check_brain(image: Volume) -> list[Finding]:
    """What speaks against `image` (C, X, Y, Z) being a skull-stripped brain that lies as its header says."""
    mask = _toward_ras(image, _foreground(image.array[0]))
    if not mask.any():
        return [Finding("is empty: every voxel has the same value; check the file", True)]
    ends = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    boxed = mask[tuple(slice(e[0], e[-1] + 1) for e in ends)]
    spacing = [s for _, s in sorted(zip((world for world, _ in image.grid.axes), image.spacing_mm, strict=True))]
    volume_ml = float(mask.sum()) * image.grid.voxel_ml
    lengths = [n * s for n, s in zip(boxed.shape, spacing, strict=True)]
    if boxed.mean() > FULL:
        return [_not_stripped("has no background of one value round the brain")]
    if volume_ml > VOLUME_ML[1]:
        return [_not_stripped(f"shows {volume_ml:.0f} ml of tissue, more than a brain has")]
    if volume_ml < VOLUME_ML[0]:
        return [Finding(f"shows {volume_ml:.0f} ml of tissue, less than a brain has; give a whole brain, and check the"
                        " spacing in its header", True)]  # fmt: skip
    return _as_it_lies(boxed, lengths)


def _as_it_lies(boxed: NDArray[np.bool_], lengths: list[float]) -> list[Finding]:
    fits = outline_fits(boxed)
    straight = max(fit for (order, flips), fit in fits.items() if order == (0, 1, 2) and not any(flips[1:]))
    (order, flips), best = max(fits.items(), key=lambda item: item[1])
    if best < ALIKE:
        return [Finding(f"does not have the outline of a brain (alike {best:.2f}, brains are above {ALIKE}); a mask of"
                        " it would be made up", True)]  # fmt: skip
    if best > straight + DOUBTFUL:
        how = "turned" if order != (0, 1, 2) else "upside down" if flips[2] and not flips[1] else "back to front"
        said = f"seems to lie {how} (outline alike {straight:.2f}, otherwise {best:.2f})"
        way = "its header's orientation may be wrong; look at it and mend the header"
        return [Finding(f"{said}: {way}", best > straight + CLEARLY)]
    outside = [n for n, (low, high) in zip(lengths, LENGTH_MM, strict=True) if not low <= n <= high]
    if outside:
        said = " x ".join(f"{n:.0f}" for n in lengths)
        return [Finding(f"shows a brain of {said} mm, which few are; check the spacing in its header", False)]
    return []


def outline_fits(boxed: NDArray[np.bool_]) -> dict[tuple[tuple[int, ...], tuple[bool, ...]], float]:
    """Correlation with the average outline for every order and flip of the axes of a mask (X, Y, Z) in its box."""
    average = np.load(AVERAGE).astype(np.float64) / 255
    found = {}
    for order in permutations(range(3)):
        coarse = coarsened(np.transpose(boxed, order), COARSE)
        for flips in product((False, True), repeat=3):
            turned = np.flip(coarse, tuple(axis for axis in range(3) if flips[axis]))
            found[order, flips] = float(np.corrcoef(turned.ravel(), average.ravel())[0, 1])
    return found


def coarsened(mask: NDArray[np.bool_], shape: Int3) -> NDArray[np.float64]:
    """The share of True in each of `shape` boxes that the mask (X, Y, Z) is cut into, 0 to 1."""
    out = mask.astype(np.float64)
    for axis, n in enumerate(shape):
        out = np.moveaxis(np.tensordot(_shares(out.shape[axis], n), out, ([1], [axis])), 0, axis)
    return out


@lru_cache(maxsize=32)
def _shares(source: int, target: int) -> NDArray[np.float64]:
    """(target, source): how much of each box each voxel makes up, rows summing to 1."""
    edges = np.linspace(0, source, target + 1)
    voxels = np.arange(source)
    overlap = np.minimum(edges[1:, None], voxels + 1) - np.maximum(edges[:-1, None], voxels)
    return np.clip(overlap, 0, None) * target / source


def _foreground(array: NDArray) -> NDArray[np.bool_]:
    """Everything that has not the value of the corners, (X, Y, Z)."""
    corners = array[np.ix_(*[(0, n - 1) for n in array.shape])].ravel()
    values, counts = np.unique(corners, return_counts=True)
    return np.asarray(array != values[np.argmax(counts)])


def _toward_ras(image: Volume, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask with its axes in the order and direction right, anterior, superior."""
    order = sorted(range(3), key=lambda axis: image.grid.axes[axis][0])
    flips = [place for place, axis in enumerate(order) if image.grid.axes[axis][1] < 0]
    return np.asarray(np.flip(np.transpose(mask, order), tuple(flips)))


def _not_stripped(fact: str) -> Finding:
    return Finding(f"{fact}: strip the skull first (HD-BET, SynthStrip or BET), with 0 outside the brain", True)
