"""How much an outline depends on what windows hold beside the brain: whole-tumour Dice with zeros put round it.

    python benchmarks/out-of-the-box/round_the_brain.py MODEL Task01_FLAIR [CASE ...]

On the network's own grid, one network, no post-processing, so that a Dice here may differ by 0.01 from `evaluate`'s.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import decaseg
from decaseg.data.preprocess import preprocess_label
from decaseg.inference.windows import slide

MARGINS = (0, 8, 16, 32)  # voxels of zeros on every side


def main() -> None:
    model, data, *names = sys.argv[1:]
    predictor = decaseg.load(model)
    for path in sorted(Path(data, "imagesTr").glob("*.nii.gz")):
        case = path.name.removesuffix(".nii.gz")
        if names and case not in names:
            continue
        prepared = predictor.prepare(decaseg.read(path))
        truth = preprocess_label(decaseg.read(Path(data, "labelsTr", path.name)), prepared.undo) > 0
        said = []
        for margin in MARGINS:
            wide = np.pad(prepared.array, [(0, 0), *[(margin, margin)] * 3])
            inner = tuple(slice(margin, margin + n) for n in truth.shape)
            found = slide(wide, predictor.window, predictor.engine, predictor.step)[0][inner] > 0
            said.append(f"{margin}: {2 * (found & truth).sum() / (found.sum() + truth.sum()):.3f}")
        print(f"{case} of {truth.shape}, zeros round it", *said, flush=True)


if __name__ == "__main__":
    main()
