"""How fast this machine trains a network, measured before a budget in minutes is shared out."""

from __future__ import annotations

import time

import torch

from decaseg.geometry import Int3
from decaseg.nets.device import autocast
from decaseg.nets.spec import NetworkSpec
from decaseg.nets.unet import build

STEPS = 3  # after one that warms up; the least counts, since others only ever slow a machine down
BESIDES = 1.2  # a step of training over one of the network alone: augmentation, optimiser, averages, validation


def seconds_a_step(network: NetworkSpec, patch: Int3, batch: int, saving: str, device: str, precision: str) -> float:
    """Wall clock that training takes for one batch, forward and backward; weights and images are drawn by chance."""
    kept = torch.get_rng_state()
    model = build(network).to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    model.saving = saving
    model.train()
    image = torch.randn(batch, network.in_channels, *patch).to(device, memory_format=torch.channels_last_3d)
    torch.set_rng_state(kept)
    taken = []
    for _ in range(1 + STEPS):
        began = time.perf_counter()
        with autocast(torch.device(device), precision):
            logits = model(image)
        outputs = logits if isinstance(logits, list) else [logits]
        torch.stack([one.float().square().mean() for one in outputs]).sum().backward()
        if device == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - began)
        model.zero_grad(set_to_none=True)
    return BESIDES * min(taken[1:])
