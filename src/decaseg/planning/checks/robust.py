"""Outliers, told by medians, which a few outliers cannot move."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NORMAL = 0.6745  # median absolute deviation of a normal distribution in standard deviations


def modified_z(values: NDArray[np.float64], floor: float) -> NDArray[np.float64]:
    """How many standard deviations each value lies from the median, both estimated by medians.

    `floor` is the least median absolute deviation believed, so that nearly equal values make no outlier of one a hair
    away. Iglewicz and Hoaglin, How to Detect and Handle Outliers (1993), who call more than 3.5 an outlier.
    """
    centre = np.median(values)
    spread = max(float(np.median(np.abs(values - centre))), floor)
    return NORMAL * (values - centre) / spread
