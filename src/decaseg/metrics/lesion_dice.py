"""Dice lesion by lesion."""

from __future__ import annotations

from decaseg.metrics.dice import dice
from decaseg.metrics.pair import MaskPair


def lesion_dice(pair: MaskPair) -> float:
    """The mean Dice over lesions, 0 for each one missed and each one made up, 0 to 1 (BraTS 2023).

    The sum over found lesions / (found + missed + false). 1 where none of these is left to count.
    """
    if not pair.lesions.total:
        return 1.0
    return sum(dice(one) for one in pair.lesion_pairs) / pair.lesions.total
