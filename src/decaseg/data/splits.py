"""Which cases train and which validate: seeded, by name, the same everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FOLD_SEED = 12345  # the field's standard folds: scikit-learn's KFold(5, shuffle=True, random_state=12345)


@dataclass(frozen=True)
class Split:
    train: tuple[str, ...]
    val: tuple[str, ...]


def split_by_fraction(cases: Sequence[str], fraction: float, seed: int) -> Split:
    """Puts `fraction` of the cases, drawn with `seed`, into validation: at least one, never all."""
    if not 0 <= fraction < 1:
        raise ValueError(f"--val-fraction {fraction}: must be at least 0 and below 1")
    names = sorted(cases)
    if fraction == 0:
        return Split(tuple(names), ())
    if len(names) < 2:
        raise ValueError("one case cannot be split into training and validation; add cases or use --val-fraction 0")
    count = min(max(1, round(len(names) * fraction)), len(names) - 1)
    chosen = {names[i] for i in np.random.default_rng(seed).permutation(len(names))[:count]}
    return Split(tuple(n for n in names if n not in chosen), tuple(n for n in names if n in chosen))


def split_by_fold(cases: Sequence[str], fold: int, folds: int = 5) -> Split:
    """Fold `fold` of the field's standard 5 folds (nnU-Net, MONAI): KFold over sorted names, random_state 12345.

    The same as scikit-learn's `KFold(folds, shuffle=True, random_state=12345)`, which shuffles with numpy's legacy
    generator and cuts the order into runs.
    """
    names = sorted(cases)
    if not 0 <= fold < folds:
        raise ValueError(f"--fold {fold}: choose 0 to {folds - 1}")
    if len(names) < folds:
        raise ValueError(f"--fold needs at least {folds} cases, here are {len(names)}; use --val-fraction instead")
    order = np.arange(len(names))
    np.random.RandomState(FOLD_SEED).shuffle(order)
    chosen = {names[i] for i in np.array_split(order, folds)[fold]}
    return Split(tuple(n for n in names if n not in chosen), tuple(n for n in names if n in chosen))
