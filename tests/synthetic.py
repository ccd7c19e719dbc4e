"""Writes small data sets in the Decathlon's layout, ordinary and odd ones, for tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from decaseg.storage import nifti
from decaseg.volume import Volume


def blobs(shape: tuple[int, int, int], rng: np.random.Generator, labels: int = 2, channels: int = 1):
    """An image (C, X, Y, Z) int16 with one bright ball per label inside a dim body, and its label map (X, Y, Z)."""
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    body = (grid**2).sum(axis=0) < 0.9
    label = np.zeros(shape, np.uint8)
    for value in range(1, labels + 1):
        centre = rng.uniform(-0.35, 0.35, 3) + np.array([0.3 * (-1) ** value, 0, 0])
        radius = rng.uniform(0.2, 0.35)
        label[((grid - centre[:, None, None, None]) ** 2).sum(axis=0) < radius**2] = value
    image = np.stack(
        [body * (200 + 20 * c) + label * (150 + 30 * c) + body * rng.normal(0, 15, shape) for c in range(channels)]
    )
    return image.astype(np.int16), label


def write_dataset(
    root: Path,
    cases: int = 6,
    shape: tuple[int, int, int] = (24, 28, 20),
    labels: tuple[str, ...] = ("anterior", "posterior"),
    channels: tuple[str, ...] = ("MRI",),
    affine: np.ndarray | None = None,
    seed: int = 0,
) -> Path:
    """A whole data set of `cases` blob cases; returns its root."""
    rng = np.random.default_rng(seed)
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    training = []
    for number in range(cases):
        image, label = blobs(shape, rng, len(labels), len(channels))
        name = f"case_{number:03d}.nii.gz"
        nifti.write(root / "imagesTr" / name, Volume.of(image, affine))
        nifti.write(root / "labelsTr" / name, Volume.of(label, affine))
        training.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    document = {
        "name": "Synthetic",
        "tensorImageSize": "3D" if len(channels) == 1 else "4D",
        "modality": {str(i): name for i, name in enumerate(channels)},
        "labels": {"0": "background"} | {str(i): name for i, name in enumerate(labels, 1)},
        "numTraining": cases,
        "numTest": 0,
        "training": training,
        "test": [],
    }
    (root / "dataset.json").write_text(json.dumps(document))
    return root
