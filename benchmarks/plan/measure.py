"""Time and memory of `decaseg plan` on brains of 240 x 240 x 155 voxels with 4 channels, for growing numbers of cases.

    python benchmarks/plan/measure.py DIR --cases 20 80 484 --distinct 80

DIR/data-N is made where it is not there: `--distinct` different generated cases (about 13 MB each), the rest hard
links to them under other names, which are read and inflated like any other file. Prints one line a run: wall and
processor seconds and the largest resident memory, all and a case.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from decaseg.storage import nifti
from decaseg.volume import Volume

SHAPE = (240, 240, 155)
LPS = np.array([[-1, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1.0]])  # as BraTS has it


def brain(seed: int) -> tuple[Volume, Volume]:
    """A noisy ellipsoid in air and three nested balls; int16 and uint8, as BraTS stores them."""
    rng = np.random.default_rng(seed)
    x, y, z = (np.linspace(-1, 1, n, dtype=np.float32) for n in SHAPE)
    distance = (x[:, None, None] / 0.58) ** 2 + (y[None, :, None] / 0.7) ** 2 + (z[None, None, :] / 0.88) ** 2
    head = distance < 1
    centre = rng.uniform(-0.2, 0.2, 3)
    apart = (x[:, None, None] - centre[0]) ** 2 + (y[None, :, None] - centre[1]) ** 2 + (z[None, None] - centre[2]) ** 2
    label = (apart < 0.06).astype(np.uint8) + (apart < 0.03) + (apart < 0.015)
    label = np.where(head, label, 0).astype(np.uint8)
    inside = np.flatnonzero(head)
    channels = np.zeros((4, *SHAPE), np.int16)
    for number, channel in enumerate(channels):
        values = rng.normal(500 + 100 * number, 60, inside.size) + 80 * label.ravel()[inside]
        channel.ravel()[inside] = values
    return Volume.of(channels, LPS), Volume.of(label, LPS)


def make(folder: Path, cases: int, distinct: int) -> Path:
    """A data set of so many cases, of which `distinct` differ."""
    if (folder / "dataset.json").exists():
        return folder
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    training = []
    for number in range(cases):
        name = f"BRATS_{number + 1:03d}.nii.gz"
        pair = [folder / part / name for part in ("imagesTr", "labelsTr")]
        if number < distinct:
            for path, volume in zip(pair, brain(number), strict=True):
                nifti.write(path, volume)
        else:
            for path in pair:
                path.hardlink_to(path.with_name(f"BRATS_{number % distinct + 1:03d}.nii.gz"))
        training.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    document = {
        "name": "BRATS",
        "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
        "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
        "training": training,
    }
    (folder / "dataset.json").write_text(json.dumps(document))
    return folder


def measure(folder: Path) -> tuple[float, float, float]:
    """Wall seconds, processor seconds and the largest resident MiB of one `decaseg plan`."""
    command = [sys.executable, "-m", "decaseg", "plan", str(folder), "--out", str(folder / "planned")]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, nargs="+", default=[20, 80])
    parser.add_argument("--distinct", type=int, default=80)
    args = parser.parse_args()
    for cases in args.cases:
        wall, cpu, peak = measure(make(args.folder / f"data-{cases}", cases, min(cases, args.distinct)))
        each = f"a case: {wall / cases:.2f} s, {cpu / cases:.2f} s of processor"
        print(f"{cases} cases: {wall:.1f} s, {cpu:.1f} s of processor, at most {peak:.0f} MiB; {each}", flush=True)


if __name__ == "__main__":
    main()
