"""A network as plain PyTorch runs it: the yardstick for everything faster."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn


class PlainTorch:
    """fp32, channels first, eager, `torch.no_grad`: what a script gets that does nothing for speed.

    Outside of inference mode the network's convolutions and norms are torch's own (see `nets.convolution`).
    """

    name = "plain torch"
    precision = "fp32"

    def __init__(self, model: nn.Module, device: torch.device, threads: int) -> None:
        torch.set_num_threads(threads)
        self.device, self.model = device, model.to(device).eval()

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            logits: NDArray[np.float32] = self.model(torch.from_numpy(windows).to(self.device)).cpu().numpy()
        return logits
