"""Training cases, preprocessed once and read patch by patch ever after."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import file_digest

import numpy as np
from numpy.typing import NDArray

from decaseg.data.preprocess import Preprocessing, preprocess, preprocess_label
from decaseg.storage import nifti
from decaseg.storage.cache import Cache, Entry
from decaseg.storage.decathlon import CaseFiles

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

    Memory holds `threads` cases at a time. Raises ValueError naming the file that cannot be used.
    """
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
    assert files.label is not None
    with files.image.open("rb") as image_file, files.label.open("rb") as label_file:
        sums = file_digest(image_file, "sha256").hexdigest(), file_digest(label_file, "sha256").hexdigest()
    key = cache.key(settings, *sums)
    entry = cache.get(key)
    if entry is None:
        entry = cache.put(key, *_make(files, how))
    return _from_entry(files.case, entry)


def _make(files: CaseFiles, how: Preprocessing) -> tuple[dict[str, NDArray], dict[str, object]]:
    assert files.label is not None
    volume, truth = nifti.read(files.image), nifti.read(files.label)
    if truth.shape != volume.shape:
        raise ValueError(f"{files.label}: shape {truth.shape} is not its image's {volume.shape}; redo the label")
    if not np.isfinite(volume.array).all():
        raise ValueError(
            f"{files.image}: holds NaN or infinite values; replace them (decaseg check lists all such cases)"
        )
    try:
        image, undo = preprocess(volume, how)
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
    return arrays, {"case": files.case}


def _from_entry(case: str, entry: Entry) -> TrainingCase:
    places = {
        int(name.removeprefix("places_")): np.asarray(array)
        for name, array in entry.arrays.items()
        if name.startswith("places_")
    }
    return TrainingCase(case, entry.arrays["image"], entry.arrays["label"], places)
