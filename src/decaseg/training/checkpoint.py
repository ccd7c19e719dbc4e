"""The state of a training on disk: written whole, the one before kept, checked and loaded without running its code."""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from decaseg.storage import no_memory
from decaseg.storage.files import replacing, write_bytes
from decaseg.storage.sealed import seal

DAMAGED = "damaged.pt"  # what a damaged checkpoint is renamed to


def save_checkpoint(path: Path, previous: Path, state: Mapping[str, Any]) -> None:
    """Writes `state` to `path`; what was there becomes `previous`. A full disk (OSError) leaves both as they were."""
    with replacing(path) as temporary:
        with temporary.open("wb") as file:
            _save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())  # nothing old is given up before the new one lies on the disk
        if path.is_file():
            _keep(path, previous)


def load_checkpoint(path: Path, previous: Path, tell: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """The newest sound state; `tell` is told of a damaged one. ValueError where there is none.

    Every byte is checked: the file is a zip, whose checksums torch writes but does not look at. A damaged file is
    renamed, so that it does not become `previous`, in place of a sound one, at the next save. Only tensors and
    plain values are unpickled.
    """
    problem = "there is none"
    for candidate in (path, previous):
        if not candidate.is_file():
            continue
        candidate.open("rb").close()  # an OSError of permissions says nothing about what the file holds
        try:
            state = _load(candidate)
        except Exception as error:
            if no_memory.refused(error):  # torch says so in a RuntimeError: the file is not damaged
                raise MemoryError(f"{candidate}: {error}") from error
            problem = f"it cannot be read ({' '.join(str(error).split())[:80] or type(error).__name__})"
            tell(f"{candidate}: is damaged and renamed to {DAMAGED}: {problem}")
            with suppress(OSError):
                candidate.replace(candidate.with_name(DAMAGED))
            continue
        if candidate is previous:
            tell(f"{path}: is not there; going on from the checkpoint before it, of step {state.get('step')}")
        return state
    raise ValueError(f"{path}: no checkpoint to resume from, {problem}; train without --resume into a new --out")


class Saver:
    """Saves a training's state again and again. A disk that is full does not end the training: it is told, and tried
    again the next time; `error` says whether the last save failed, `step` which one lies on the disk."""

    def __init__(self, path: Path, previous: Path, log: Callable[..., None]) -> None:
        self.path, self.previous, self.log = path, previous, log
        self.step: int | None = None
        self.error: OSError | None = None

    def __call__(self, step: int, elapsed_s: float, state: Mapping[str, Any]) -> None:
        started = time.perf_counter()
        try:
            save_checkpoint(self.path, self.previous, state)
        except OSError as error:
            self.error = error
            self.log("checkpoint_failed", step=step, elapsed_s=elapsed_s, kept=self.step, error=str(error))
        else:
            self.step, self.error = step, None
            self.log("checkpoint", step=step, elapsed_s=elapsed_s, save_s=time.perf_counter() - started)

    def insist(self, step: int) -> None:
        """OSError where the last save failed: for a training that ends here and relies on it."""
        if self.error is not None:
            there = "there is none" if self.step is None else f"the one there is of step {self.step}"
            what = f"{self.error.strerror}: the checkpoint of step {step} could not be written, {there}"
            raise OSError(self.error.errno, what, str(self.path)) from self.error


def save_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Weights as safetensors, float32, contiguous, with a checksum inside."""
    from safetensors.torch import save

    plain = {name: t.detach().cpu().contiguous(memory_format=torch.contiguous_format) for name, t in weights.items()}
    write_bytes(path, save(plain, seal(save(plain))))


def _save(state: dict[str, Any], file: IO[bytes]) -> None:
    """torch.save, with the system's own error where the file cannot be written: torch reports just that it failed."""
    remembering = _Remembering(file)
    try:
        torch.save(state, remembering)  # type: ignore[arg-type]
    except RuntimeError as error:
        raise remembering.error or error from error


class _Remembering:
    """A file that remembers what went wrong in writing to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.file.flush()


def _keep(path: Path, previous: Path) -> None:
    """Gives the file at `path` the name `previous` too, or, where files cannot have two names, instead."""
    with suppress(FileNotFoundError):
        previous.unlink()
    try:
        os.link(path, previous)
    except OSError:
        path.replace(previous)


def _load(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        if (name := archive.testzip()) is not None:
            raise ValueError(f"{name} does not match its checksum")
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise ValueError("holds no state")
    return state
