"""How far networks differ from each other, beside how far they differ from the truth.

    python benchmarks/time-to-accuracy/agreement.py Task04_Hippocampus EVALUATION EVALUATION [...]

Of EVALUATIONs of the same cases, means over cases: Dice of each against the truth; Dice of every two against each
other; and of the voxels that the first has wrong, the share that all others have wrong as well.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
from outline_or_cut import labels
from predictions import mean_dice


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("evaluations", type=Path, nargs="+")
    wishes = parser.parse_args()
    if len(wishes.evaluations) < 2:
        parser.error("give two evaluations at least")
    first, *others = [{file.name for file in (e / "predictions").glob("*_pred.nii.gz")} for e in wishes.evaluations]
    if not first or any(first != names for names in others):
        parser.error("the evaluations must have predictions of the same cases")
    true, between, shared = [], [], []
    for name in sorted(first):
        truth = labels(wishes.data / "labelsTr" / name.replace("_pred.nii.gz", ".nii.gz"))
        found = [labels(evaluation / "predictions" / name) for evaluation in wishes.evaluations]
        true.append([mean_dice(one, truth) for one in found])
        between.append([mean_dice(one, other) for one, other in itertools.combinations(found, 2)])
        wrong = [one != truth for one in found]
        shared.append(np.logical_and.reduce(wrong).sum() / max(wrong[0].sum(), 1))
    for evaluation, score in zip(wishes.evaluations, np.mean(true, axis=0), strict=True):
        print(f"{evaluation} against the truth, {len(first)} cases: {score:.4f}")
    for (one, other), score in zip(
        itertools.combinations(wishes.evaluations, 2), np.mean(between, axis=0), strict=True
    ):
        print(f"{one} against {other}: {score:.4f}")
    print(f"of the voxels that the first has wrong, all others have wrong too: {np.mean(shared):.2f}")


if __name__ == "__main__":
    main()
