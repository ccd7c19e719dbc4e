"""Sensitivity: how much of what is there was found."""

from __future__ import annotations

from decaseg.metrics.empty import share
from decaseg.metrics.pair import MaskPair


def sensitivity(pair: MaskPair) -> float:
    """TP / (TP + FN) over voxels, 0 to 1; also called recall or true positive rate."""
    return share(pair.true_positives, pair.true_voxels)
