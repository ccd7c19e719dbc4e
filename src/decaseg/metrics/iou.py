"""Intersection over union, the Jaccard index."""

from __future__ import annotations

from decaseg.metrics.empty import share
from decaseg.metrics.pair import MaskPair


def iou(pair: MaskPair) -> float:
    """TP / (TP + FP + FN), 0 to 1 (Jaccard 1912); per case it is dice / (2 - dice), the means are not."""
    return share(pair.true_positives, pair.predicted_voxels + pair.true_voxels - pair.true_positives)
