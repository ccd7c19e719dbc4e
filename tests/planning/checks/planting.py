"""Small data sets with anatomy that tells its sides, and ways to plant a fault in them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from decaseg.planning.check import Problem, problems
from decaseg.storage import nifti
from decaseg.storage.layouts import read_dataset
from decaseg.volume import Volume
from tests.synthetic import write_dataset

SHAPE = (26, 30, 22)


def torso(root: Path, cases: int = 8, names: tuple[str, ...] = ("liver", "spleen"), modality: str = "MRI") -> Path:
    """Cases with a large organ on the right in front and a small one on the left behind, each a little different."""
    write_dataset(root, cases=1, labels=names, channels=(modality,))
    for file in [*(root / "imagesTr").iterdir(), *(root / "labelsTr").iterdir()]:
        file.unlink()
    rng = np.random.default_rng(1)
    training = []
    for number in range(cases):
        place = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij"))
        image = np.where((place**2).sum(axis=0) < 0.95, 300.0, 0.0)
        label = np.zeros(SHAPE, np.uint8)
        organs = (((0.4, 0.3, 0.2), 0.4, 500), ((-0.45, -0.35, 0.1), 0.3, 400))
        for value, (centre, radius, bright) in enumerate(organs, 1):
            moved = np.array(centre) + rng.uniform(-0.05, 0.05, 3)
            inside = ((place - moved[:, None, None, None]) ** 2).sum(axis=0) < (radius * rng.uniform(0.9, 1.1)) ** 2
            label[inside], image[inside] = value, bright
        image = image + rng.normal(0, 15, SHAPE) * (image > 0)
        name = f"case_{number:03d}.nii.gz"
        nifti.write(root / "imagesTr" / name, Volume.of(image.astype(np.int16)))
        nifti.write(root / "labelsTr" / name, Volume.of(label))
        training.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    document(root, training=training, numTraining=cases)
    return root


def found_in(root: Path) -> list[Problem]:
    return problems(read_dataset(root))


def by_rule(root: Path, rule: str) -> list[Problem]:
    return [problem for problem in found_in(root) if problem.rule == rule]


def image(root: Path, number: int = 1) -> Path:
    return root / f"imagesTr/case_{number:03d}.nii.gz"


def label(root: Path, number: int = 1) -> Path:
    return root / f"labelsTr/case_{number:03d}.nii.gz"


def document(root: Path, **changes: Any) -> None:
    path = root / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def changed(path: Path, change: Callable[[np.ndarray], np.ndarray], affine: np.ndarray | None = None) -> None:
    """Rewrites a file with its (C, X, Y, Z) voxels replaced by what `change` makes of them."""
    volume = nifti.read(path)
    nifti.write(path, Volume.of(change(volume.array.copy()), volume.affine if affine is None else affine))


def headed(path: Path, edit: Callable[[nib.Nifti1Header], None]) -> None:
    """Edits a file's header, whatever comes of it; voxels and all else stay."""
    raw = bytearray(gzip.decompress(path.read_bytes()))
    header = nib.Nifti1Header(bytes(raw[:348]), check=False)
    edit(header)
    raw[:348] = header.binaryblock
    path.write_bytes(gzip.compress(bytes(raw)))
