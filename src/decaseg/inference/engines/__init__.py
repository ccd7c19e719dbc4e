"""What runs a network: torch, OpenVINO or ONNX Runtime, behind one small interface."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

ENGINES = ("torch", "openvino", "onnx")


class Engine(Protocol):
    """Maps windows (B, C, X, Y, Z) float32 to logits (B, K, X, Y, Z) float32.

    The logits are lent: they hold until the next call from the same thread.
    """

    name: str
    precision: str

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]: ...
