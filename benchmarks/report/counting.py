"""What counting calibration costs in `evaluate`: labels of one brain with and without it, in processor seconds.

`python benchmarks/report/counting.py`: 240 x 240 x 155 voxels, 3 structures, logits as smooth as a network's; restoring
labels from them alone, and with the histograms counted; medians of 5, in turns.
"""

from __future__ import annotations

import time
from statistics import median

import numpy as np
from scipy import ndimage

from decaseg.data.preprocess import Undo
from decaseg.data.targets import make_target
from decaseg.geometry import Box
from decaseg.inference.restore import Wanted, restore
from decaseg.inference.windows import Slab
from decaseg.volume import Grid, Volume
from decaseg.workflows.calibrating import Tally

SHAPE = (240, 240, 155)
ROUNDS = 5


def main() -> None:
    random = np.random.default_rng(0)
    target = make_target("all", {1: "edema", 2: "core", 3: "enhancing"})
    grid = Grid(SHAPE, np.eye(4))
    undo = Undo(grid, SHAPE, Box((0, 0, 0), SHAPE), SHAPE)
    coarse = random.normal(0, 4, (4, 12, 12, 8)).astype(np.float32)
    logits = np.stack([ndimage.zoom(c, [n / m for n, m in zip(SHAPE, c.shape, strict=True)], order=1) for c in coarse])
    logits[0] += 6.0  # most of an image is background
    truth = Volume(restore([Slab(0, 0, logits)], target, undo).labels.array, grid)
    slabs = [Slab(0, start, logits[:, start : start + 32]) for start in range(0, SHAPE[0], 32)]
    spent: dict[str, list[float]] = {"labels alone": [], "with the count": []}
    for _ in range(ROUNDS):
        for words, seconds in spent.items():
            began = time.process_time()
            tally = Tally(truth, undo, target)
            wanted = Wanted(watch=tally.see) if words == "with the count" else Wanted()
            restore(slabs, target, undo, wanted)
            if wanted.watch is not None:
                tally.rows()
            seconds.append(time.process_time() - began)
    for words, seconds in spent.items():
        print(f"{words}: {median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})")


if __name__ == "__main__":
    main()
