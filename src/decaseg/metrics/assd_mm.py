"""Average symmetric surface distance."""

from __future__ import annotations

import numpy as np

from decaseg.metrics.pair import MaskPair


def assd_mm(pair: MaskPair) -> float:
    """The mean distance of both surfaces' elements to the other surface, weighted by area, in mm, 0 is best.

    Both surfaces are pooled (Metrics Reloaded: ASSD), not averaged after (MASD).
    """
    there, back = pair.prediction_to_truth, pair.truth_to_prediction
    moment = np.dot(there.distances_mm, there.areas_mm2) + np.dot(back.distances_mm, back.areas_mm2)
    return float(moment / (there.areas_mm2.sum() + back.areas_mm2.sum()))
