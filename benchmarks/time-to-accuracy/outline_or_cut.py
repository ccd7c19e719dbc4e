"""How much Dice is lost at the outline of the whole structure, and how much where its two parts meet.

    python benchmarks/time-to-accuracy/outline_or_cut.py Task04_Hippocampus EVALUATION [EVALUATION ...]

Of an EVALUATION with predictions, means over its cases: Dice as it is; Dice of both parts as one structure; Dice if
every voxel that was found had the part of the nearest true voxel. Then, hippocampi being cut across the y axis, by
how many slices the best cut of the prediction lies off that of the truth (mean, deviation).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from predictions import mean_dice
from scipy import ndimage

import decaseg

Labels = NDArray[np.int64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("evaluations", type=Path, nargs="+")
    wishes = parser.parse_args()
    for evaluation in wishes.evaluations:
        rows = []
        for file in sorted((evaluation / "predictions").glob("*_pred.nii.gz")):
            case = file.name.removesuffix("_pred.nii.gz")
            found, truth = labels(file), labels(wishes.data / "labelsTr" / f"{case}.nii.gz")
            ideal = np.where(found > 0, nearest(truth), 0)
            rows.append(
                (mean_dice(found, truth), dice(found > 0, truth > 0), mean_dice(ideal, truth), cut(found) - cut(truth))
            )
        table = np.array(rows)
        as_is, whole, ideal_cut, shift = table.mean(0)
        print(
            f"{evaluation}: {len(rows)} cases: {as_is:.4f}; one structure {whole:.4f}; true parts {ideal_cut:.4f}; "
            f"cut off by {shift:.2f} slices, deviation {table[:, 3].std():.2f}"
        )


def labels(file: Path) -> Labels:
    return np.asarray(decaseg.read(file).array).squeeze().round().astype(np.int64)


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def nearest(truth: Labels) -> Labels:
    """The part of the nearest voxel of the structure, everywhere."""
    places = ndimage.distance_transform_edt(truth == 0, return_distances=False, return_indices=True)
    return np.asarray(truth[tuple(places)])


def cut(label: Labels) -> int:
    """The slice y from which on part 1 (anterior) lies with the fewest voxels on the wrong side."""
    front, back = (np.concatenate([[0], (label == part).sum((0, 2)).cumsum()]) for part in (1, 2))
    return int(np.argmin(front + back[-1] - back))


if __name__ == "__main__":
    main()
