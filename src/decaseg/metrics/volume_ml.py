"""Volumes: how large the structure is, as predicted and as true."""

from __future__ import annotations

from decaseg.metrics.pair import MaskPair


def volume_ml(pair: MaskPair) -> float:
    """The predicted volume in millilitres: voxels times the volume of one."""
    return pair.predicted_voxels * pair.voxel_ml


def volume_truth_ml(pair: MaskPair) -> float:
    """The true volume in millilitres."""
    return pair.true_voxels * pair.voxel_ml
