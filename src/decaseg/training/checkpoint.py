"""The state of a training on disk: written whole, the one before kept, loaded without running code from the file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from decaseg.storage.files import replacing, write_bytes


def save_checkpoint(path: Path, previous: Path, state: Mapping[str, Any]) -> None:
    """Writes `state` to `path`; what was there becomes `previous`. A full disk leaves both as they were."""
    with replacing(path) as temporary:
        torch.save(dict(state), temporary)
        if path.is_file():
            with suppress(FileNotFoundError):
                previous.unlink()
            os.link(path, previous)


def load_checkpoint(path: Path, previous: Path) -> dict[str, Any]:
    """The newest state that can be read; ValueError where neither can. Unpickles tensors and plain values only."""
    problem = "there is none"
    for candidate in (path, previous):
        if candidate.is_file():
            try:
                state = torch.load(candidate, map_location="cpu", weights_only=True)
                if isinstance(state, dict):
                    return state
            except Exception as error:
                problem = f"it cannot be read ({type(error).__name__})"
    raise ValueError(f"{path}: no checkpoint to resume from, {problem}; train without --resume into a new --out")


def save_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Weights as safetensors, float32, contiguous."""
    from safetensors.torch import save

    plain = {name: t.detach().cpu().contiguous(memory_format=torch.contiguous_format) for name, t in weights.items()}
    write_bytes(path, save(plain))
