"""Runs a U-Net in torch; the only engine that imports it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from decaseg.nets.device import autocast, choose_device, choose_precision, set_threads
from decaseg.nets.spec import NetworkSpec
from decaseg.nets.unet import build
from decaseg.storage import no_memory
from decaseg.storage.sealed import verify


class TorchEngine:
    """A network in evaluation mode on a device, in a precision."""

    name = "torch"

    def __init__(self, model: nn.Module, device: torch.device, precision: str) -> None:
        self.device, self.precision = device, precision
        self.model = model.to(device).to(memory_format=torch.channels_last_3d).eval()  # type: ignore[call-overload]

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode(), autocast(self.device, self.precision):
            batch = torch.from_numpy(windows).to(self.device).contiguous(memory_format=torch.channels_last_3d)
            logits: NDArray[np.float32] = self.model(batch).float().contiguous().cpu().numpy()
        return logits


def load_network(weights: Path, spec: NetworkSpec) -> nn.Module:
    """The network of `spec` with the weights of a safetensors file; ValueError where they do not fit."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not weights.is_file():
        raise ValueError(f"{weights}: there are no weights yet; finish the training with decaseg train … --resume")
    model = build(spec)
    try:
        verify(weights)
        found = load_file(weights)
    except (SafetensorError, OSError, RuntimeError) as error:
        unread = ValueError(f"{weights}: cannot be read as safetensors ({error}); copy the run again")
        raise no_memory.or_else(error, unread) from None
    try:
        model.load_state_dict(found)
    except RuntimeError:
        raise ValueError(f"{weights}: does not fit the network in plan.json; the two belong to other runs") from None
    return model


def load_torch(weights: Path, spec: NetworkSpec, device: str, precision: str, threads: int | None) -> TorchEngine:
    """An engine from a RUN's weights."""
    set_threads(threads)
    chosen = choose_device(device)
    return TorchEngine(load_network(weights, spec), chosen, choose_precision(precision, chosen))
