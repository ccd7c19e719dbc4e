"""Masks for tests: real hippocampi where the data is there, made ones everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage

from decaseg.storage import nifti

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
HIPPOCAMPUS = SHARED / "Task04_Hippocampus" / "labelsTr"
BRAINS = SHARED / "Task01_BrainTumour" / "labelsTr"


def random_pair(seed: int, shape=(14, 17, 12)):
    """Two smooth random masks, alike but not the same; neither empty."""
    random = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(random.normal(size=shape), 2)
    noise = ndimage.gaussian_filter(random.normal(size=shape), 1)
    truth = field > np.quantile(field, 0.75)
    prediction = field + 0.3 * noise > np.quantile(field + 0.3 * noise, 0.7)
    return prediction, truth


def perturbed(mask):
    """Name -> the mask with one kind of error that networks make."""
    stray = mask.copy()
    stray[0, 0, 0] = stray[-1, -1, -1] = True
    half = mask.copy()
    half[: mask.shape[0] // 2] = False
    return {
        "shifted": np.roll(mask, (2, -1, 1), axis=(0, 1, 2)),
        "dilated": ndimage.binary_dilation(mask, iterations=2),
        "eroded": ndimage.binary_erosion(mask),
        "stray voxels": stray,
        "half": half,
        "ragged": mask ^ (np.random.default_rng(1).random(mask.shape) < 0.02),
        "the same": mask.copy(),
    }


def real_label_maps(count: int):
    """`count` real label maps (X, Y, Z) with values 0, 1 and 2, spread over the data set."""
    files = sorted(path for path in HIPPOCAMPUS.iterdir() if nifti.is_nifti(path))
    return [nifti.read(files[i]).array[0] for i in np.linspace(0, len(files) - 1, count).astype(int)]


def on_one_grid(*masks):
    """The masks padded at their ends to one shape, so that those of different people can be compared."""
    shape = np.max([m.shape for m in masks], axis=0)
    return [np.pad(m, [(0, n - s) for s, n in zip(m.shape, shape, strict=True)]) for m in masks]


def no_brains() -> bool:
    return not BRAINS.is_dir()


def brain_label_maps(count: int):
    """The first `count` real brain tumour label maps, (240, 240, 155) at 1 mm, values 0 to 3."""
    files = sorted(path for path in BRAINS.iterdir() if nifti.is_nifti(path))
    return [nifti.read(path).array[0].astype(np.uint8) for path in files[:count]]
