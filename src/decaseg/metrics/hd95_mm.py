"""95th percentile of the Hausdorff distance."""

from __future__ import annotations

from decaseg.metrics.pair import MaskPair


def hd95_mm(pair: MaskPair) -> float:
    """The larger of the two directed 95th percentiles of surface distance, in mm, 0 is best.

    Surface elements count by their area, so that a coarse axis does not count twice (DeepMind's surface-distance,
    `compute_robust_hausdorff`; Nikolov et al. 2018, arXiv 1809.04430).
    """
    return max(pair.prediction_to_truth.percentile_mm(95.0), pair.truth_to_prediction.percentile_mm(95.0))
