"""Normalised surface distance, which is also called surface Dice."""

from __future__ import annotations

from decaseg.metrics.pair import MaskPair


def nsd(pair: MaskPair) -> float:
    """The share of both surfaces' area within `pair.tolerance_mm` of the other surface, 0 to 1.

    The Decathlon's second metric, as DeepMind defines it (`compute_surface_dice_at_tolerance`; Nikolov et al. 2018,
    arXiv 1809.04430, equation 6).
    """
    there, back = pair.prediction_to_truth, pair.truth_to_prediction
    within = there.area_within_mm2(pair.tolerance_mm) + back.area_within_mm2(pair.tolerance_mm)
    return float(within / (there.areas_mm2.sum() + back.areas_mm2.sum()))
