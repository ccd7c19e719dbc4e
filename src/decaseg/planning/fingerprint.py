"""What the data are like, in numbers: shapes, spacings, intensities and where structures lie to each other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decaseg.data.preprocess import ras_spacing, to_ras
from decaseg.geometry import Box, Float3, Int3, bounding_box, float3, int3
from decaseg.planning.check import refuse, voxel_problems
from decaseg.storage.dataset import CaseFiles, Dataset, Region
from decaseg.storage.files import sha256_of
from decaseg.storage.images import read_image, read_label

SLAB_VOXELS = 1 << 20  # hashed at a time
SAMPLES_PER_CASE = 10_000  # foreground intensities a case lends to the data set's percentiles, as in nnU-Net


@dataclass(frozen=True)
class CaseFacts:
    """One case in RAS order: `shape` is what is left after cropping to nonzero, `kept_share` of the full volume.

    `centroids_mm` maps a label value to its centre of mass, millimetres from the corner of the volume. `sha256` is of
    the two files; `image_digest` of the image's voxels alone, the same however they are stored.
    """

    case: str
    spacing_mm: Float3
    full_shape: Int3
    shape: Int3
    kept_share: float
    label_voxels: Mapping[int, int]
    centroids_mm: Mapping[int, Float3]
    sha256: str
    image_digest: str = ""


@dataclass(frozen=True)
class ChannelFacts:
    """Intensities of one channel inside the structures, over all cases."""

    name: str
    mean: float
    std: float
    percentile_0_5: float
    percentile_99_5: float


@dataclass(frozen=True)
class Fingerprint:
    """The whole data set's facts; the same data give the same fingerprint on any machine."""

    dataset: str
    file_channels: int
    channels: tuple[ChannelFacts, ...]
    labels: Mapping[int, str]
    cases: tuple[CaseFacts, ...]
    sha256: str
    regions: tuple[Region, ...] = ()
    ignore: int | None = None

    def median_spacing_mm(self) -> Float3:
        return float3(np.median([c.spacing_mm for c in self.cases], axis=0))

    def median_shape(self) -> Int3:
        return int3(np.median([c.shape for c in self.cases], axis=0).round())

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def take_fingerprint(
    dataset: Dataset, threads: int = 2, on_case: Callable[[int, int], None] | None = None
) -> Fingerprint:
    """Reads every training case once, `threads` at a time; memory holds that many cases.

    `on_case(done, total)` is told of each. Raises ValueError, naming the file, for one that cannot be read.
    """
    facts: dict[str, CaseFacts] = {}
    samples: dict[str, NDArray[np.float32]] = {}
    with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
        waiting = {pool.submit(_case_facts, dataset, files): files for files in dataset.training}
        try:
            for done, future in enumerate(as_completed(waiting), 1):
                case = waiting[future].case
                facts[case], samples[case] = future.result()
                if on_case:
                    on_case(done, len(waiting))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    names = sorted(facts)
    pooled = np.concatenate([samples[n] for n in names], axis=1)
    digest = hashlib.sha256("".join(facts[n].sha256 for n in names).encode()).hexdigest()
    return Fingerprint(
        dataset=dataset.name,
        file_channels=len(dataset.channels),
        channels=tuple(_channel_facts(name, values) for name, values in zip(dataset.channels, pooled, strict=True)),
        labels=dict(dataset.labels),
        cases=tuple(facts[n] for n in names),
        sha256=digest,
        regions=dataset.regions,
        ignore=dataset.ignore,
    )


def directed_axes(cases: Sequence[CaseFacts]) -> tuple[bool, bool, bool]:
    """Per RAS axis: do two structures lie to each other in one direction throughout the data?

    If they do (the head of a hippocampus is in front of its tail), mirroring that axis during training would
    teach what never occurs. Consistent means: the mean offset of a pair of structures' centres is more than
    1.5 + 5 / n times its standard deviation over n >= 4 cases (more for few, where chance looks like a rule), and
    more than half a millimetre.
    """
    directed = [False, False, False]
    labels = sorted({value for case in cases for value in case.centroids_mm})
    for i, first in enumerate(labels):
        for second in labels[i + 1 :]:
            offsets = np.array(
                [
                    np.subtract(c.centroids_mm[first], c.centroids_mm[second])
                    for c in cases
                    if first in c.centroids_mm and second in c.centroids_mm
                ]
            )
            if len(offsets) < 4:
                continue
            mean, std = np.abs(offsets.mean(axis=0)), offsets.std(axis=0)
            for axis in range(3):
                directed[axis] |= bool(mean[axis] > (1.5 + 5 / len(offsets)) * std[axis] and mean[axis] > 0.5)
    return directed[0], directed[1], directed[2]


def _case_facts(dataset: Dataset, files: CaseFiles) -> tuple[CaseFacts, NDArray[np.float32]]:
    assert files.label is not None  # read_dataset refuses training cases without one
    volume, label_volume = read_image(files), read_label(files)
    if label_volume.shape != volume.shape:
        raise ValueError(f"{files.label}: shape {label_volume.shape} is not its image's {volume.shape}; redo the label")
    refuse(voxel_problems(dataset, files, volume.array, label_volume.array))
    image = to_ras(volume.array, volume.grid)
    label = to_ras(label_volume.array, volume.grid)[0]
    if dataset.ignore is not None:  # says nothing of any structure
        label = np.where(label == dataset.ignore, 0, label)
    spacing_mm = ras_spacing(volume.grid)
    full_shape = int3(image.shape[1:])
    box = bounding_box((image != 0).any(axis=0)) or Box((0, 0, 0), full_shape)
    voxels, centroids = _label_facts(label, spacing_mm)
    facts = CaseFacts(
        case=files.case,
        spacing_mm=float3(round(s, 6) for s in spacing_mm),
        full_shape=full_shape,
        shape=box.shape,
        kept_share=float(np.prod(box.shape) / np.prod(full_shape)),
        label_voxels=voxels,
        centroids_mm=centroids,
        sha256="".join(sha256_of(path) for path in files.files),
        image_digest=digest_of_image(image, box),
    )
    return facts, _foreground_sample(image, label, files.case)


def digest_of_image(image: NDArray, box: Box | None = None) -> str:
    """The same for images with the same values in RAS order, whatever their type, axes, header and compression.

    Takes a (C, X, Y, Z) array in RAS order, and the box outside of which it is 0 (None: not known); works on float32,
    a few slices at a time.
    """
    box = box or bounding_box((image != 0).any(axis=0)) or Box((0, 0, 0), (0, 0, 0))
    digest = hashlib.blake2b(repr((image.shape, box)).encode(), digest_size=16)
    image = image[(slice(None), *box.slices)]
    depth = max(1, SLAB_VOXELS // max(1, image.shape[1] * image.shape[2]))
    for channel in image:
        for z in range(0, image.shape[3], depth):
            # x fastest, as files usually have it; + 0.0 makes -0.0 one with 0.0
            slab = np.ascontiguousarray(channel[:, :, z : z + depth].T, np.float32) + np.float32(0.0)
            digest.update(slab.data)
    return digest.hexdigest()


def _label_facts(label: NDArray, spacing_mm: Float3) -> tuple[dict[int, int], dict[int, Float3]]:
    """Voxels and centre of mass of each value; `label` holds whole numbers from 0 to 255, as has been checked."""
    box = bounding_box(label > 0)
    if box is None:
        return {}, {}
    values = label[box.slices].astype(np.uint8)
    voxels: dict[int, int] = {}
    centroids: dict[int, Float3] = {}
    for value in np.flatnonzero(np.bincount(values.ravel(order="K"))):
        if value != 0:
            mask = values == value
            voxels[int(value)] = int(np.count_nonzero(mask))
            centroids[int(value)] = float3(
                round((start + _mean_place(mask, axis)) * mm, 4)
                for axis, (start, mm) in enumerate(zip(box.start, spacing_mm, strict=True))
            )
    return voxels, centroids


def _mean_place(mask: NDArray[np.bool_], axis: int) -> float:
    counts = np.count_nonzero(mask, axis=tuple(other for other in range(3) if other != axis))
    return float(counts @ np.arange(counts.size) / counts.sum())


def _foreground_sample(image: NDArray, label: NDArray, case: str) -> NDArray[np.float32]:
    inside = np.flatnonzero(label > 0)
    if inside.size == 0:
        return np.empty((image.shape[0], 0), np.float32)
    seed = int.from_bytes(hashlib.sha256(case.encode()).digest()[:4], "little")
    chosen = np.random.default_rng(seed).choice(inside, min(SAMPLES_PER_CASE, inside.size), replace=False)
    x, y, z = np.unravel_index(chosen, label.shape)
    return image[:, x, y, z].astype(np.float32)


def _channel_facts(name: str, values: NDArray[np.float32]) -> ChannelFacts:
    if values.size == 0:
        return ChannelFacts(name, 0.0, 1.0, 0.0, 0.0)
    low, high = np.percentile(values, [0.5, 99.5])
    facts = values.mean(dtype=np.float64), values.std(dtype=np.float64), low, high
    # The last digits of a sum may differ by processor; what follows from these must not.
    return ChannelFacts(name, *(float(f"{value:.9g}") for value in facts))
