"""Absolute error of the volume."""

from __future__ import annotations

from decaseg.metrics.pair import MaskPair


def volume_error_ml(pair: MaskPair) -> float:
    """|predicted - true volume| in millilitres, 0 is best.

    Absolute, so that one case missed and another doubled do not cancel in the mean; the signed mean (the bias) is the
    mean of `volume_ml` less that of `volume_truth_ml`.
    """
    return abs(pair.predicted_voxels - pair.true_voxels) * pair.voxel_ml
