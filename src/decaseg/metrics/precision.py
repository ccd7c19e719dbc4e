"""Precision: how much of what was found is there."""

from __future__ import annotations

from decaseg.metrics.empty import share
from decaseg.metrics.pair import MaskPair


def precision(pair: MaskPair) -> float:
    """TP / (TP + FP) over voxels, 0 to 1; also called positive predictive value."""
    return share(pair.true_positives, pair.predicted_voxels)
