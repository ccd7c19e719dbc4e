"""Where an image holds anything: windows that hold nothing need no network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from decaseg.data.preprocess import Preprocessing

VISIBLE = 1e-3  # standard deviations; less is rounding


def present_voxels(array: NDArray[np.float32], how: Preprocessing) -> NDArray[np.bool_]:
    """(X, Y, Z): does any channel of the preprocessed image (C, X, Y, Z) differ from what surrounds the body?

    What surrounds the body is 0 where only nonzero voxels were normalised (skull-stripped MR), and the channel's
    darkest value elsewhere: air, which CT's clipping makes one value. Noise is something.
    """
    found = np.zeros(array.shape[1:], bool)
    for channel, normalisation in zip(array, how.normalisation, strict=True):
        if normalisation.kind == "zscore_nonzero":
            low, high = -VISIBLE, VISIBLE
            found |= channel < low
        else:
            high = float(channel.min()) + VISIBLE
        found |= channel > high
    return found
