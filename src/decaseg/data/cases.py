"""Training cases, preprocessed once and read patch by patch ever after."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache as once
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decaseg import geometry, volume
from decaseg.data import normalise, resample
from decaseg.data import preprocess as preprocess_module
from decaseg.data.preprocess import Preprocessing, preprocess, preprocess_label
from decaseg.storage import images, nifti, nifti_place
from decaseg.storage.cache import Cache, Entry
from decaseg.storage.dataset import CaseFiles
from decaseg.storage.files import sha256_of
from decaseg.storage.images import read_image, read_label

PLACES_PER_LABEL = 2000  # foreground voxels remembered per label: enough that patches centre everywhere on it


@dataclass(frozen=True)
class TrainingCase:
    """A preprocessed case: image (C, X, Y, Z) float16, label (X, Y, Z) uint8, both memory-mapped.

    `places` maps a label value to (n, 3) voxels where it is found.
    """

    case: str
    image: NDArray[np.float16]
    label: NDArray[np.uint8]
    places: dict[int, NDArray[np.int32]]


def prepare_cases(
    files: Sequence[CaseFiles],
    how: Preprocessing,
    cache: Cache,
    threads: int = 2,
    on_case: Callable[[int, int], None] | None = None,
) -> list[TrainingCase]:
    """All cases, from the cache where they are there and made from the same files in the same way, else made now.

    Threads, not processes: inflating, checksums and resampling let go of Python's lock, and a thread that fails says
    where. Memory holds `threads` cases at a time. Raises ValueError naming the file that cannot be used; what
    `on_case` raises ends the preparation, and cases done by then stay in the cache.
    """
    cache.sweep()
    settings = json.dumps(how.to_json(), sort_keys=True)
    done = 0
    cases = []
    with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
        try:
            for case in pool.map(lambda f: _prepare(f, how, settings, cache), files):
                cases.append(case)
                done += 1
                if on_case:
                    on_case(done, len(files))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return cases


def _prepare(files: CaseFiles, how: Preprocessing, settings: str, cache: Cache) -> TrainingCase:
    sums = _sums(files)
    key = cache.key(settings, code_sum(), *sums)
    entry = cache.get(key)
    if entry is None:
        arrays = _make(files, how)
        if _sums(files) != sums:  # else the old content's key would lead to the new content
            raise ValueError(f"{files.image}: it or its label changed while it was read; run again")
        entry = cache.put(key, arrays, {"case": files.case})
    return _from_entry(files.case, entry)


@once
def code_sum() -> str:
    """A hash of the code that preprocesses and of the libraries it leaves the arithmetic to.

    Part of every key: a cache that an older version filled is not used by one that would have made other arrays.
    """
    modules = (__file__, preprocess_module.__file__, normalise.__file__, resample.__file__, nifti.__file__,
               nifti_place.__file__, images.__file__, geometry.__file__, volume.__file__)  # fmt: skip
    versions = [f"{name} {metadata.version(name)}".encode() for name in ("numpy", "scipy", "nibabel")]
    return hashlib.sha256(b"\0".join([*(Path(m).read_bytes() for m in modules), *versions])).hexdigest()


def _sums(files: CaseFiles) -> tuple[str, ...]:
    """What the files hold, as SHA-256: dates and sizes would miss a change; and how their values are meant."""
    assert files.label is not None  # read_dataset refuses training cases without one
    meant = [json.dumps([sorted(files.values.items()), files.take])] if files.values or files.take else []
    return (*(sha256_of(path) for path in files.files), *meant)


def _make(files: CaseFiles, how: Preprocessing) -> dict[str, NDArray]:
    assert files.label is not None
    image_volume, truth = read_image(files), read_label(files)
    if truth.shape != image_volume.shape:
        raise ValueError(f"{files.label}: shape {truth.shape} is not its image's {image_volume.shape}; redo the label")
    if not np.isfinite(image_volume.array).all():
        raise ValueError(
            f"{files.image}: holds NaN or infinite values; replace them (decaseg check lists all such cases)"
        )
    try:
        image, undo = preprocess(image_volume, how)
    except ValueError as error:
        raise ValueError(f"{files.image}: {error}") from None
    label = preprocess_label(truth, undo)
    rng = np.random.default_rng(0)
    arrays: dict[str, NDArray] = {
        "image": np.clip(image, -65000, 65000).astype(np.float16),
        "label": np.ascontiguousarray(label),
    }
    for value in np.unique(label):
        if value != 0:
            flat = np.flatnonzero(label == value)
            if flat.size > PLACES_PER_LABEL:
                flat = np.sort(rng.choice(flat, PLACES_PER_LABEL, replace=False))
            arrays[f"places_{value}"] = np.stack(np.unravel_index(flat, label.shape), axis=1).astype(np.int32)
    return arrays


def _from_entry(case: str, entry: Entry) -> TrainingCase:
    places = {
        int(name.removeprefix("places_")): np.asarray(array)
        for name, array in entry.arrays.items()
        if name.startswith("places_")
    }
    return TrainingCase(case, entry.arrays["image"], entry.arrays["label"], places)
