"""Dice similarity coefficient."""

from __future__ import annotations

from decaseg.metrics.empty import share
from decaseg.metrics.pair import MaskPair


def dice(pair: MaskPair) -> float:
    """2 TP / (2 TP + FP + FN), 0 to 1 (Dice 1945; Metrics Reloaded: DSC, the F1 score of the voxels)."""
    return share(2 * pair.true_positives, pair.predicted_voxels + pair.true_voxels)
