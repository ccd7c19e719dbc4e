"""From a file's volume to the array a network sees, and the record that undoes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decaseg.data.normalise import Normalisation
from decaseg.data.resample import resample_image, resample_labels
from decaseg.geometry import Box, Float3, Int3, bounding_box, float3, int3, resampled_shape
from decaseg.volume import Grid, Volume

SAME_SPACING = 0.01  # relative: resampling 1.000 mm to 1.003 mm costs time and sharpness and gains nothing


@dataclass(frozen=True)
class Preprocessing:
    """Everything that turns an image into network input; all that prediction needs besides the network.

    `channels` are the names used, `channel_indices` their places among the `file_channels` of an image.
    `spacing_mm` is in RAS order (right, anterior, superior), as are all arrays after preprocessing.
    """

    channels: tuple[str, ...]
    channel_indices: tuple[int, ...]
    file_channels: int
    spacing_mm: Float3
    normalisation: tuple[Normalisation, ...]
    crop_to_nonzero: bool = True

    def to_json(self) -> dict[str, Any]:
        return {
            "channels": list(self.channels),
            "channel_indices": list(self.channel_indices),
            "file_channels": self.file_channels,
            "spacing_mm": list(self.spacing_mm),
            "normalisation": [n.to_json() for n in self.normalisation],
            "crop_to_nonzero": self.crop_to_nonzero,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Preprocessing:
        return cls(
            channels=tuple(str(c) for c in document["channels"]),
            channel_indices=tuple(int(i) for i in document["channel_indices"]),
            file_channels=int(document["file_channels"]),
            spacing_mm=float3(document["spacing_mm"]),
            normalisation=tuple(Normalisation.from_json(n) for n in document["normalisation"]),
            crop_to_nonzero=bool(document["crop_to_nonzero"]),
        )


@dataclass(frozen=True)
class Undo:
    """What was done to a case's geometry: `ras_shape` after reorienting, `box` cropped from it, `shape` at the end."""

    grid: Grid
    ras_shape: Int3
    box: Box
    shape: Int3


def to_ras(array: NDArray, grid: Grid) -> NDArray:
    """A (C, X, Y, Z) array with its axes turned so that they run right, anterior, superior; a view."""
    axes = grid.axes
    order = [next(i for i, (world, _) in enumerate(axes) if world == w) for w in range(3)]
    turned = array.transpose(0, *(1 + i for i in order))
    return turned[(slice(None), *(slice(None, None, axes[i][1]) for i in order))]


def from_ras(array: NDArray, grid: Grid) -> NDArray:
    """The inverse of `to_ras`: back to the axes of the file; a view."""
    axes = grid.axes
    order = [next(i for i, (world, _) in enumerate(axes) if world == w) for w in range(3)]
    unflipped = array[(slice(None), *(slice(None, None, axes[i][1]) for i in order))]
    return unflipped.transpose(0, *(1 + world for world, _ in axes))


def preprocess(volume: Volume, how: Preprocessing) -> tuple[NDArray[np.float32], Undo]:
    """The network's input (C, X, Y, Z), float32, in RAS order at `how.spacing_mm`; and how to undo it.

    Takes an image with all the file's channels, or with just those the network uses. Raises ValueError for
    another number of channels.
    """
    array, grid = _select_channels(to_ras(volume.array, volume.grid), how), volume.grid
    ras_shape = int3(array.shape[1:])
    box = (bounding_box(_nonzero(array)) if how.crop_to_nonzero else None) or Box((0, 0, 0), ras_shape)
    normal = array[(slice(None), *box.slices)].astype(np.float32, order="C")
    nonzero = _nonzero(normal)  # again: in this order of memory, and of the box only, it is there at once
    for normalise, channel in zip(how.normalisation, normal, strict=True):
        normalise.in_place(channel, nonzero)
    spacing_mm = ras_spacing(grid)
    shape = target_shape(box.shape, spacing_mm, how.spacing_mm)
    return resample_image(normal, shape, spacing_mm), Undo(grid, ras_shape, box, shape)


def preprocess_label(label: Volume, undo: Undo) -> NDArray[np.uint8]:
    """The label map (X, Y, Z) that lies under a preprocessed image."""
    cropped = to_ras(label.array, undo.grid)[0][undo.box.slices]
    return resample_labels(np.rint(cropped).astype(np.uint8), undo.shape)


def ras_spacing(grid: Grid) -> Float3:
    """The grid's spacing in RAS order, in millimetres."""
    spacing = [0.0, 0.0, 0.0]
    for (world, _), length in zip(grid.axes, grid.spacing_mm, strict=True):
        spacing[world] = length
    return float3(spacing)


def target_shape(shape: Int3, spacing_mm: Float3, target_mm: Float3) -> Int3:
    """Voxels after resampling to `target_mm`; an axis whose spacing is within 1 % of it keeps its own."""
    # Headers hold float32: without rounding, 2.5 voxels become 2 or 3 by how the same image was turned when stored.
    spacing_mm = float3(float(f"{s:.6g}") for s in spacing_mm)
    wanted = resampled_shape(shape, spacing_mm, target_mm)
    close = [abs(s / t - 1) < SAME_SPACING for s, t in zip(spacing_mm, target_mm, strict=True)]
    return int3(n if same else w for n, w, same in zip(shape, wanted, close, strict=True))


def _nonzero(array: NDArray) -> NDArray[np.bool_]:
    """(X, Y, Z): is any channel of (C, X, Y, Z) not 0?"""
    found: NDArray[np.bool_] = array[0] != 0
    for channel in array[1:]:
        found |= channel != 0
    return found


def _select_channels(array: NDArray, how: Preprocessing) -> NDArray:
    if array.shape[0] == how.file_channels:
        every = how.channel_indices == tuple(range(how.file_channels))
        return array if every else array[list(how.channel_indices)]
    if array.shape[0] == len(how.channels):
        return array
    raise ValueError(
        f"has {array.shape[0]} channels, the model was trained on images of {how.file_channels} and uses "
        f"{', '.join(how.channels)}; give images with those channels in that order"
    )
