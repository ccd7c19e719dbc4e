"""Specificity: how much of what is not there was left alone."""

from __future__ import annotations

from decaseg.metrics.empty import share
from decaseg.metrics.pair import MaskPair


def specificity(pair: MaskPair) -> float:
    """TN / (TN + FP) over the voxels of the whole image, 0 to 1.

    It depends on how much background the image has and is close to 1 for any small structure: report it, do not
    choose by it. A mask that is empty where the other is not scores 0 by the rule in metrics.empty, not the formula's
    1, because a miss must improve no mean.
    """
    return share(pair.true_negatives, pair.true_negatives + pair.false_positives)
