"""A validation case while training, for TensorBoard: the same picture as everywhere, from the network's own grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from decaseg.geometry import Float3
from decaseg.reporting.three_planes import draw_three_planes
from decaseg.volume import Volume


def draw_validation(
    image: NDArray[np.float32],
    truth: Sequence[NDArray[np.bool_]],
    found: Sequence[NDArray[np.bool_]],
    names: Sequence[str],
    spacing_mm: Float3,
) -> NDArray[np.uint8]:
    """Three planes of one channel (X, Y, Z) in RAS order with what is right and wrong, as (rows, columns, 3) pixels.

    `truth` and `found` hold a mask a structure; where structures overlap, the later ones are painted over the earlier.
    No places are written: the network's grid is cut from the file's. Half the size of a notebook's picture, since a
    training keeps many.
    """
    affine = np.diag([*spacing_mm, 1.0])
    shown, prediction, there = (
        Volume.of(array, affine) for array in (image, _painted(found, image.shape), _painted(truth, image.shape))
    )
    drawn = draw_three_planes(shown, prediction, there, dict(enumerate(names, 1)), places=False)
    return np.asarray(drawn.reduce(2))


def _painted(masks: Sequence[NDArray[np.bool_]], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    labels = np.zeros(shape, np.uint8)
    for value, mask in enumerate(masks, 1):
        labels[mask] = value
    return labels
