"""Writes a data set as large as Task01: 484 cases of 240x240x155 voxels, four int16 channels, about 10 MB each.

    python benchmarks/check/make_cases.py FOLDER [--cases 484] [--workers 2]

A case is an ellipsoid with smooth structure and noise that compresses as badly as a real skull-stripped brain. Twenty
channels and label maps are made and compressed in ten pieces each; a case takes each piece of each channel from
another one, drawn at random: no two are alike, and writing them costs little more than the disk. A file is one gzip
member a piece, which readers take as fast as a single one.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np

SHAPE = (240, 240, 155)
POOL, PIECES = 20, 10
CHANNELS = ("FLAIR", "T1w", "t1gd", "T2w")
LABELS = ("background", "edema", "non-enhancing tumor", "enhancing tumour")
NOISE = 220.0  # standard deviation that makes a channel about 2.4 MB


def grid() -> np.ndarray:
    return np.stack(np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in SHAPE), indexing="ij"))


def channel(seed: int) -> np.ndarray:
    """(X, Y, Z) int16: 0 outside an ellipsoid of about a sixth of the volume."""
    rng = np.random.default_rng(seed)
    place = grid()
    radii = rng.uniform(0.95, 1.05, 3) * (0.58, 0.72, 0.8)
    centre = rng.uniform(-0.03, 0.03, 3)
    scaled = (place - centre[:, None, None, None].astype(np.float32)) / radii[:, None, None, None].astype(np.float32)
    body = (scaled**2).sum(axis=0) < 1
    waves = sum(np.sin(place[axis] * rng.uniform(3, 9) + rng.uniform(0, 6)) for axis in range(3))
    values = 900 + 250 * waves[body] + rng.normal(0, NOISE, int(body.sum())).astype(np.float32)
    made = np.zeros(SHAPE, np.int16)
    made[body] = np.clip(values, 1, 4000).astype(np.int16)
    return made


def label(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed + 1_000_000)
    place, made = grid(), np.zeros(SHAPE, np.uint8)
    centre = np.array((0.2, -0.1, 0.1), np.float32)  # the same in all, so that pieces fit together
    distance = ((place - centre[:, None, None, None]) ** 2).sum(axis=0) + rng.normal(0, 0.002, SHAPE)
    for value, radius in ((1, 0.25), (2, 0.15), (3, 0.08)):
        made[distance < radius**2] = value
    return made


def header(dtype: type, channels: int) -> bytes:
    found = nib.Nifti1Header()
    found.set_data_dtype(dtype)
    found.set_data_shape(SHAPE if channels == 1 else (*SHAPE, channels))
    found.set_zooms((1.0,) * (3 if channels == 1 else 4))
    found.set_sform(np.diag([-1.0, -1.0, 1.0, 1.0]), 2)
    found.set_xyzt_units("mm")
    found["vox_offset"] = 352
    return found.binaryblock + b"\0" * 4


def pooled(pool: Path, number: int) -> None:
    """Writes the pieces of a channel and of a label map, each a gzip member."""
    for name, array in (("image", channel(number)), ("label", label(number))):
        for piece, part in enumerate(np.array_split(array, PIECES, axis=2)):
            packed = gzip.compress(part.tobytes(order="F"), 1 if name == "image" else 6, mtime=0)
            (pool / f"{name}_{number}_{piece}.gz").write_bytes(packed)


def case(folder: Path, pool: Path, number: int) -> None:
    """Puts a case together: for each channel, and for the label map, each piece from another source."""
    rng = np.random.default_rng(number)
    name = f"BRATS_{number + 1:03d}.nii.gz"
    for kind, into, head in (("image", "imagesTr", header(np.int16, 4)), ("label", "labelsTr", header(np.uint8, 1))):
        with (folder / into / name).open("wb") as file:
            file.write(gzip.compress(head, mtime=0))
            for _ in CHANNELS if kind == "image" else (0,):
                for piece in range(PIECES):
                    file.write((pool / f"{kind}_{rng.integers(POOL)}_{piece}.gz").read_bytes())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=484)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    folder, pool = arguments.folder, arguments.folder / "pool"
    for name in ("imagesTr", "labelsTr", "pool"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(arguments.workers) as workers:
        list(workers.map(pooled, [pool] * POOL, range(POOL)))
    for number in range(arguments.cases):
        case(folder, pool, number)
    shutil.rmtree(pool)
    names = [f"BRATS_{number + 1:03d}.nii.gz" for number in range(arguments.cases)]
    document = {
        "name": "BRATS",
        "tensorImageSize": "4D",
        "modality": {str(number): name for number, name in enumerate(CHANNELS)},
        "labels": {str(number): name for number, name in enumerate(LABELS)},
        "numTraining": len(names),
        "numTest": 0,
        "training": [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names],
        "test": [],
    }
    (folder / "dataset.json").write_text(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
