"""The process that holds the model: reads an image, predicts, writes the label map. One job at a time.

A process of its own, because a segmentation fault, a lack of memory or an endless computation must not take the server
along. Files and short JSON messages pass between the two, never arrays or pickles.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from decaseg.data.preprocess import ras_spacing, target_shape
from decaseg.data.targets import Target
from decaseg.geometry import int3
from decaseg.inference.predictor import Prediction, Predictor
from decaseg.inference.restore import Wanted
from decaseg.serving.limits import GROWTH, SMALL_VOXELS
from decaseg.serving.logs import where
from decaseg.serving.refusal import Refusal, too_large
from decaseg.storage import nifti, no_memory
from decaseg.volume import Volume

Read = TypeVar("Read")
TOLD_S = 0.05  # between two words about progress
SAME_PLACE_MM = 1e-2  # that the grids of one image's channels may differ


@dataclass(frozen=True)
class ModelFacts:
    """What clients may know about the model. `labels`: name to value, as painted; `warnings` are sentences."""

    name: str
    labels: Mapping[str, int]
    structures: Mapping[str, Sequence[int]]
    channels: Sequence[str]
    file_channels: int
    spacing_mm: Sequence[float]
    engine: str
    precision: str
    parity: Mapping[str, Any] | None
    selection: str
    warnings: Sequence[str]


@dataclass(frozen=True)
class Loaded:
    """An opened model. `need_gib`: what predicting an image takes at its peak; `free_gib`: what may be taken."""

    predictor: Predictor
    facts: ModelFacts
    description: str
    need_gib: Callable[[Sequence[Path]], float]
    free_gib: Callable[[], float | None]


class Cancelled(Exception):
    """The server asked to stop."""


def main(connection: Connection, open_model: Callable[[], Loaded]) -> None:
    """Says `ready` or `unusable`, then answers one message after another until the other end closes."""
    for number in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C reaches this process too; the server decides what ends
        signal.signal(number, signal.SIG_IGN)
    os.umask(0o077)
    tell = _Teller(connection)
    _live_with_parent(tell)
    try:
        loaded = open_model()
    except (ValueError, OSError) as error:
        tell("unusable", why=" ".join(str(error).split()))
        return
    except BaseException as error:
        tell("unusable", why=f"the model cannot be opened ({where(error)})")
        raise SystemExit(1) from None
    tell("ready", model=asdict(loaded.facts))
    while True:
        try:
            message = json.loads(connection.recv_bytes())
        except (EOFError, OSError):
            return
        if message["do"] == "predict":
            _answer(loaded, message, tell, connection)


def _answer(loaded: Loaded, message: Mapping[str, Any], tell: _Teller, connection: Connection) -> None:
    job, windows = message["job"], [0, 0]

    def stop_if_asked() -> None:
        while connection.poll():
            if json.loads(connection.recv_bytes()) == {"do": "cancel", "job": job}:
                raise Cancelled

    def advance(stage: str, done: int, total: int) -> None:
        stop_if_asked()
        if stage == "network":
            windows[:] = done, total
        tell.now_and_then("progress", job=job, stage=stage, done=done, total=total)

    paths = [Path(path) for path in message["images"]]
    try:
        found = predict(loaded, paths, Path(message["labels"]), advance)
        tell("done", job=job, windows=windows, **found)
    except Cancelled:
        tell("cancelled", job=job)
    except (EOFError, OSError) as error:
        if connection.closed or isinstance(error, EOFError | BrokenPipeError):
            raise SystemExit(0) from None  # the server is gone
        tell("failed", job=job, error=where(error))
    except Refusal as refusal:
        tell("refused", job=job, status=refusal.status, code=refusal.code, sentence=refusal.sentence)
    except Exception as error:
        if not no_memory.refused(error):
            tell("failed", job=job, error=where(error))
            return
        tell("refused", job=job, status=413, code="too_large", sentence="the image needs more memory than there is")
        raise SystemExit(1) from None  # OpenVINO's caches keep what failed: later images need another process


def predict(
    loaded: Loaded, images: Sequence[Path], labels: Path, advance: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """Writes the label map to `labels`; volumes in ml and seconds by stage. Refusal for images it cannot use."""
    started = time.perf_counter()
    advance("read", 0, 0)
    refuse_size(loaded, images)
    image = read_images(images)
    advance("prepare", 0, 0)
    read_s = time.perf_counter() - started
    try:
        prepared = loaded.predictor.prepare(image)
    except ValueError as error:
        why = str(error).partition(". --no-input-check")[0]
        raise Refusal(422, "unusable_image", f"the image {why}") from None
    del image
    made = loaded.predictor.predict(prepared, Wanted(), lambda done, total: advance("network", done, total))
    advance("write", 0, 0)
    writing = time.perf_counter()
    nifti.write(labels, made.labels, loaded.description)
    seconds = {"read": read_s, **asdict(made.seconds), "write": time.perf_counter() - writing}
    return {
        "volumes_ml": volumes_ml(made, loaded.predictor.target),
        "warnings": [f"the image {doubt}" for doubt in made.warnings],
        "seconds": {stage: round(value, 4) for stage, value in seconds.items()},
    }


def read_images(paths: Sequence[Path]) -> Volume:
    """One image, or several of a channel each put together in order. Refusal, without the path, for what is wrong."""
    volumes = [_or_refused(nifti.read, path, number, len(paths)) for number, path in enumerate(paths, 1)]
    first = volumes[0]
    if len(volumes) == 1:
        return first
    for number, volume in enumerate(volumes, 1):
        if volume.array.shape[0] != 1:
            raise Refusal(422, "unusable_image", f"image {number} has several channels; send one 4D file, or one file "
                          "a channel")  # fmt: skip
        if volume.shape != first.shape or first.grid.distance_mm(volume.affine) > SAME_PLACE_MM:
            raise Refusal(422, "unusable_image", f"image {number} lies on another grid than image 1; resample them to "
                          "the same one")  # fmt: skip
    kinds = {volume.array.dtype for volume in volumes}
    kind = kinds.pop() if len(kinds) == 1 else np.dtype(np.float32)
    array = np.empty((len(volumes), *first.shape[::-1]), kind).transpose(0, 3, 2, 1)  # x fastest, as files are
    for target, volume in zip(array, volumes, strict=True):
        target[:] = volume.array[0]
    return Volume(array, first.grid)


def _or_refused(read: Callable[[Path], Read], path: Path, number: int, count: int) -> Read:
    try:
        return read(path)
    except nifti.NiftiError as error:
        name = "the image" if count == 1 else f"image {number}"
        raise Refusal(422, "unusable_image", f"{name} {error.fault}; {error.fix}") from None


def refuse_size(loaded: Loaded, images: Sequence[Path]) -> None:
    """Refusal, by the headers, where resampling would blow the image up, or where it needs more memory than is free.

    A header that says 40 mm where 1 mm is meant makes a thumbnail a day's work.
    """
    grid, *_ = _or_refused(nifti.read_facts, images[0], 1, len(images))
    shape = int3(grid.shape[[world for world, _ in grid.axes].index(axis)] for axis in range(3))
    inner = target_shape(shape, ras_spacing(grid), loaded.predictor.preprocessing.spacing_mm)
    voxels = float(np.prod(inner, dtype=np.float64))
    if voxels > max(GROWTH * float(np.prod(grid.shape, dtype=np.float64)), SMALL_VOXELS):
        raise Refusal(422, "unusable_image", "the image has voxels far larger than the model works at; mend the spacing"
                      " in its header")  # fmt: skip
    free, need = loaded.free_gib(), loaded.need_gib(images)
    if free is not None and need > free:
        raise too_large(f"the image needs about {need:.1f} GiB of memory, {max(free, 0):.1f} are free")


def volumes_ml(made: Prediction, target: Target) -> dict[str, float]:
    """Millilitres of each structure, overlapping ones each in full."""
    counts = np.bincount(made.labels.array.ravel(order="K"), minlength=256)
    voxel_ml = made.labels.grid.voxel_ml
    return {name: round(float(counts[list(v)].sum()) * voxel_ml, 6) for name, v in target.predicted_sets.items()}


class _Teller:
    """Sends messages; those about progress at most every TOLD_S."""

    def __init__(self, connection: Connection) -> None:
        self.connection, self.last, self.lock = connection, 0.0, threading.Lock()

    def __call__(self, say: str, **facts: Any) -> None:
        with self.lock:
            self.connection.send_bytes(json.dumps({"say": say, **facts}).encode())

    def now_and_then(self, say: str, **facts: Any) -> None:
        if time.monotonic() - self.last > TOLD_S:
            self.last = time.monotonic()
            self(say, **facts)


def _live_with_parent(tell: _Teller) -> None:
    """Says every second that this process is not frozen; ends it when the server is gone, even in the middle of a
    window; lets it die first of memory's lack."""
    parent = os.getppid()
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("700")

    def watch() -> None:
        with suppress(OSError):
            while os.getppid() == parent:
                tell("alive")
                time.sleep(1)
        os._exit(0)

    threading.Thread(target=watch, name="parent", daemon=True).start()
