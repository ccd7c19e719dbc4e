"""How many lesions were found, missed and made up."""

from __future__ import annotations

from decaseg.metrics.pair import MaskPair


def lesions_found(pair: MaskPair) -> float:
    """True lesions that a predicted component touches (BraTS 2023: true positives)."""
    return float(len(pair.lesions.found))


def lesions_missed(pair: MaskPair) -> float:
    """True lesions that none touches (false negatives)."""
    return float(pair.lesions.missed)


def lesions_false(pair: MaskPair) -> float:
    """Predicted components that touch no true lesion (false positives)."""
    return float(pair.lesions.false)
