"""Runs an exported network in OpenVINO; needs no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PRECISION_HINTS = {"fp32": "f32", "bf16": "bf16"}


class OpenVinoEngine:
    """A compiled model; `precision` is what the processor computes in, whatever the weights are stored in.

    OpenVINO would choose bf16 by itself where it can; a bundle that was gated in fp32 must run in fp32, so the
    precision is always asked for by name.
    """

    name = "openvino"

    def __init__(self, model: Path, precision: str = "fp32", threads: int | None = None) -> None:
        try:
            import openvino
        except ImportError:
            raise ValueError("--engine openvino: OpenVINO is not installed; pip install 'decaseg[openvino]'") from None
        self.precision = precision
        core = openvino.Core()
        options: dict[str, object] = {
            "INFERENCE_PRECISION_HINT": PRECISION_HINTS[precision],
            "PERFORMANCE_HINT": "LATENCY",
        }
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            self._compiled = core.compile_model(str(model), "CPU", options)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise ValueError(f"{model}: OpenVINO cannot load it ({reason}); export it again") from None
        self._request = self._compiled.create_infer_request()

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        self._request.infer([np.ascontiguousarray(windows)])
        return np.array(self._request.get_output_tensor(0).data, dtype=np.float32)
