"""The Decathlon's ten tasks: what is published of them and of nnU-Net's plans, and small sets with the same traits.

Sources, to which the letters below refer:

N  nnU-Net 2's own plans for the ten tasks (3d_fullres), as its trainer logged them in AutoNNUnet's baselines:
   github.com/automl/AutoNNUnet, output/baseline/DatasetNNN_NAME/3d_fullres/fold_0/debug.json. All medians, spacings,
   patches, batches, strides, kernels, normalisations, intensities inside the structures, names and counts are from
   there.
M  MONAI's copy of nnU-Net 1's plans: Project-MONAI/tutorials, modules/dynunet_pipeline/task_params.py.
R  ranges of spacing and shape: openmedlab/Awesome-Medical-Dataset, resources/MSD_Brain.md, LiTS.md (which is task
   3), MSD_Prostate.md and MSD_Spleen.md. Of the other tasks no published range was found: theirs go from the plan's
   spacing, which is the 10th percentile where slices are thick, to the median.

nnU-Net counts axes from feet to head, back to front; here everything is right, front, up, so its lists are turned.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from decaseg.geometry import Float3, Int3
from decaseg.storage import nifti
from decaseg.volume import Volume

AIR_HU = -1024.0
Intensities = tuple[float, float, float, float]  # mean, std, 0.5th and 99.5th percentile inside the structures (N)


@dataclass(frozen=True)
class Task:
    """Facts of one data set (N unless marked), and of the plan that nnU-Net 2 makes for it."""

    name: str
    title: str
    prefix: str  # of a case's file name
    channels: tuple[str, ...]
    structures: tuple[str, ...]
    cases: int
    median_spacing_mm: Float3
    median_shape: Int3  # after cropping, at the median spacing
    spacing_mm: Float3  # the plan's
    shape: Int3  # the median at the plan's spacing
    intensities: tuple[Intensities, ...]
    patch: Int3
    batch: int
    strides: tuple[Int3, ...]
    flat_kernels: int  # levels whose kernel is 1 long across the slices
    inside: bool = False  # cropping to nonzero takes away a quarter or more
    tiny: bool = False  # a structure of a few millilitres or less
    thinnest_mm: float = 0.0  # slices, R; 0: the plan's
    thickest_mm: float = 0.0  # R; 0: the median
    lacking: float = 0.0  # share of cases without the last structure, R
    extra: dict[str, object] = field(default_factory=dict)  # of dataset.json

    @property
    def modality(self) -> str:
        return "CT" if self.channels == ("CT",) else "MR"

    @property
    def normalisation(self) -> str:
        return "ct" if self.modality == "CT" else "zscore_nonzero" if self.inside else "zscore"


ALL, PLANE = (2, 2, 2), (2, 2, 1)

TASKS = {
    task.name: task
    for task in (
        Task("Task01_BrainTumour", "BRATS", "BRATS_", ("FLAIR", "T1w", "t1gd", "T2w"),
             ("edema", "non-enhancing tumor", "enhancing tumour"), 484,
             (1, 1, 1), (138, 169, 138), (1, 1, 1), (138, 169, 138),
             ((729, 355, 104, 1733), (622, 336, 56, 2421), (663, 420, 44, 2963), (664, 318, 103, 1997)),
             (128, 128, 128), 2, (ALL,) * 5, 0, inside=True, tiny=True, lacking=0.025),
        Task("Task02_Heart", "LeftAtrium", "la_", ("MRI",), ("left atrium",), 20,
             (1.25, 1.25, 1.37), (232, 320, 115), (1.25, 1.25, 1.37), (232, 320, 115), ((1090, 165, 598, 1521),),
             (160, 192, 80), 2, (ALL,) * 4 + (PLANE,), 0, inside=True),
        Task("Task03_Liver", "Liver", "liver_", ("CT",), ("liver", "cancer"), 131,
             (0.767578125, 0.767578125, 1), (512, 512, 432), (0.767578125, 0.767578125, 1), (512, 512, 482),
             ((99.5, 37.1, -15, 197),), (128, 128, 128), 2, (ALL,) * 5, 0, tiny=True, thinnest_mm=0.7, thickest_mm=5,
             lacking=0.1),
        Task("Task04_Hippocampus", "Hippocampus", "hippocampus_", ("MRI",), ("Anterior", "Posterior"), 260,
             (1, 1, 1), (35, 50, 36), (1, 1, 1), (35, 50, 36), ((22360, 60656, 28, 277682),),
             (40, 56, 40), 9, (ALL,) * 3, 0),
        Task("Task05_Prostate", "PROSTATE", "prostate_", ("T2", "ADC"), ("PZ", "TZ"), 32,
             (0.625, 0.625, 3.6), (320, 320, 20), (0.625, 0.625, 3.6), (319, 320, 20),
             ((350, 140, 83, 822), (1351, 376, 0, 2563)), (256, 320, 20), 2, (PLANE, PLANE, ALL, ALL, PLANE, PLANE), 2,
             thinnest_mm=3.0, thickest_mm=4.0, extra={"quantitative": [0, 1]}),
        Task("Task06_Lung", "Lung", "lung_", ("CT",), ("cancer",), 63,
             (0.78515625, 0.78515625, 1.24498), (512, 512, 252), (0.78515625, 0.78515625, 1.24498), (512, 512, 252),
             ((-273, 347, -1024, 311),), (160, 192, 80), 2, (ALL,) * 4 + (PLANE,), 0, tiny=True),
        Task("Task07_Pancreas", "Pancreas", "pancreas_", ("CT",), ("pancreas", "cancer"), 281,
             (0.802734, 0.802734, 2.5), (512, 512, 93), (0.802734, 0.802734, 2.5), (512, 512, 96),
             ((80.4, 72.7, -92, 217),), (224, 224, 40), 2, (PLANE, ALL, ALL, ALL, PLANE), 1, tiny=True),
        Task("Task08_HepaticVessel", "HepaticVessel", "hepaticvessel_", ("CT",), ("Vessel", "Tumour"), 303,
             (0.798828, 0.798828, 5), (512, 512, 49), (0.798828, 0.798828, 1.5), (512, 512, 150),
             ((129, 54.6, 8, 268),), (192, 192, 64), 2, (ALL,) * 4 + (PLANE,), 0, tiny=True),
        Task("Task09_Spleen", "Spleen", "spleen_", ("CT",), ("spleen",), 41,
             (0.792969, 0.792969, 5), (512, 512, 90), (0.792969, 0.792969, 1.60001), (512, 512, 187),
             ((93.2, 40.8, -42, 176),), (160, 192, 64), 2, (PLANE, ALL, ALL, ALL, ALL), 1, thinnest_mm=1.5,
             thickest_mm=8),
        Task("Task10_Colon", "Colon", "colon_", ("CT",), ("colon cancer primaries",), 126,
             (0.78125, 0.78125, 5), (512, 512, 95), (0.78125, 0.78125, 3), (512, 512, 150),
             ((67.2, 37.1, -40, 188),), (192, 192, 56), 2, (PLANE, ALL, ALL, ALL, PLANE), 1, tiny=True),
    )
}  # fmt: skip

LONGEST = 40  # voxels of a small case along its longest axis; spacings stay, so the field of view shrinks


def small_shape(task: Task, slice_mm: float, rng: np.random.Generator) -> Int3:
    """A case's voxels: the plane in the task's proportions, slices as thick as `slice_mm`, at least eight."""
    scale = LONGEST / max(task.median_shape)
    x, y = (max(16, round(n * scale * rng.uniform(0.9, 1.0))) for n in task.median_shape[:2])
    covered_mm = task.shape[2] * task.spacing_mm[2] * scale
    return x, y, max(8, min(LONGEST, round(covered_mm / slice_mm)))


def slice_thickness_mm(task: Task, number: int, cases: int) -> float:
    """Case 0 has the thinnest slices, case 1 the plan's, the last the thickest, the others the median's."""
    median = task.median_spacing_mm[2]
    if number in (0, 1):
        return (task.thinnest_mm if number == 0 else 0.0) or task.spacing_mm[2]
    return (task.thickest_mm if number == cases - 1 else 0.0) or median


def draw_case(task: Task, number: int, cases: int, rng: np.random.Generator) -> tuple[Volume, Volume]:
    """An image and its label map: a body in air or nothing, nested or side by side structures, tiny ones a few voxels.

    CT as int16 Hounsfield units, -1024 outside; MR as int16 or, as in task 4, now uint8 and now float32. Where cropping
    takes much away (`inside`), a wide margin is exactly 0.
    """
    slice_mm = slice_thickness_mm(task, number, cases)
    shape = small_shape(task, slice_mm, rng)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    body = (grid**2).sum(axis=0) < (0.65**2 if task.inside else 0.95**2)
    label = np.zeros(shape, np.uint8)
    for value in range(1, len(task.structures) + 1):
        tiny = task.tiny and value == len(task.structures)
        if tiny and rng.random() < task.lacking:
            continue
        centre = rng.uniform(-0.1, 0.1, 3) + 0.25 * np.array([(-1) ** value, 0.5 * (value == 2), 0])
        radius = 0.08 if tiny else rng.uniform(0.25, 0.4)
        ball = ((grid - centre[:, None, None, None]) ** 2).sum(axis=0) < radius**2
        label[ball & body] = value
        if tiny and not ball.any():
            label[tuple(int(n * (1 + c) / 2) for n, c in zip(shape, centre, strict=True))] = value
    channels = []
    for mean, std, low, high in task.intensities:
        noise = rng.normal(0, 0.2 * std, shape)
        inside = np.clip(mean + 0.8 * std * (label.astype(float) - 1) + noise, low, high)
        outside = np.clip(mean - 1.5 * std + 2 * noise, min(low, mean - 3 * std), high)
        tissue = np.where(label > 0, inside, outside)
        air = AIR_HU if task.modality == "CT" else 0.0 if task.inside else max(0.0, low / 2)
        channels.append(np.where(body, tissue if task.modality == "CT" else np.maximum(tissue, 1), air))
    image = np.stack(channels)
    if task.name == "Task04_Hippocampus":  # some of its images are bytes, some floats of another order of magnitude
        image = (image / image.max() * 255).astype(np.uint8) if number % 3 == 0 else image.astype(np.float32)
    else:
        image = np.rint(image).clip(-(2**15), 2**15 - 1).astype(np.int16)
    affine = np.diag([*task.median_spacing_mm[:2], slice_mm, 1.0])
    affine[:3, 3] = rng.uniform(-200, 0, 3)
    return Volume.of(image, affine), Volume.of(label, affine)


def write_task(root: Path, task: Task, cases: int = 6, seed: int = 0) -> Path:
    """A small data set like `task` under `root/NAME`, with a dataset.json like the Decathlon's; returns its root."""
    rng, folder = np.random.default_rng(seed), root / task.name
    for part in ("imagesTr", "labelsTr", "imagesTs"):
        (folder / part).mkdir(parents=True)
    training = []
    for number in range(cases):
        image, label = draw_case(task, number, cases, rng)
        name = f"{task.prefix}{number + 1:03d}.nii.gz"
        nifti.write(folder / "imagesTr" / name, image)
        nifti.write(folder / "labelsTr" / name, label)
        training.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    test = f"{task.prefix}{cases + 1:03d}.nii.gz"
    nifti.write(folder / "imagesTs" / test, draw_case(task, cases, cases + 2, rng)[0])
    document = {
        "name": task.title,
        "description": "generated",
        "reference": "none",
        "licence": "CC0",
        "relase": "1.0 04/05/2018",
        "tensorImageSize": "4D" if len(task.channels) > 1 else "3D",
        **task.extra,
        "modality": {str(i): name for i, name in enumerate(task.channels)},
        "labels": {"0": "background"} | {str(i): name for i, name in enumerate(task.structures, 1)},
        "numTraining": cases,
        "numTest": 1,
        "training": training,
        "test": [f"./imagesTs/{test}"],
    }
    (folder / "dataset.json").write_text(json.dumps(document, indent=4))
    return folder
