"""Where an evaluation's outlines miss: share found by depth below the image's surface, and by height.

    python benchmarks/out-of-the-box/where.py EVALUATION [CASE ...]

EVALUATION: a folder of `decaseg evaluate`; voxels of 1 mm, as the real cases have. Found / right of what was found.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

DEPTHS_MM = (0, 3, 6, 10, 15, 22, 60)
HEIGHTS_MM = range(28, 70, 6)


def main() -> None:
    folder, *names = sys.argv[1:]
    for path in sorted(Path(folder, "predictions").glob("*_img.nii.gz")):
        case = path.name.removesuffix("_img.nii.gz")
        if names and case not in names:
            continue
        image, truth, found = (
            np.asanyarray(nib.load(path.with_name(f"{case}_{part}.nii.gz")).dataobj).squeeze() > 0
            for part in ("img", "msk", "pred")
        )
        depth = ndimage.distance_transform_edt(image)
        print(case)
        for low, high in pairwise(DEPTHS_MM):
            print(f"  depth {low:2}-{high:2} mm: {shares(truth, found, (depth > low) & (depth <= high))}")
        for low in HEIGHTS_MM:
            there = np.zeros_like(truth)
            there[..., low : low + 6] = True
            print(f"  slices {low}-{low + 6}: {shares(truth, found, there)}")


def shares(truth: np.ndarray, found: np.ndarray, there: np.ndarray) -> str:
    both, all_true, all_found = (int((mask & there).sum()) for mask in (truth & found, truth, found))
    return f"{both / max(1, all_true):.2f} / {both / max(1, all_found):.2f} of {all_true / 1000:.1f} ml"


if __name__ == "__main__":
    main()
