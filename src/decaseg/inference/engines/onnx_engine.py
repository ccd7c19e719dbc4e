"""Runs an exported network in ONNX Runtime; needs no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class OnnxEngine:
    """An ONNX Runtime session on the processor."""

    name = "onnx"
    precision = "fp32"

    def __init__(self, model: Path, threads: int | None = None) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise ValueError("--engine onnx: ONNX Runtime is not installed; pip install 'decaseg[onnx]'") from None
        self.threads = threads
        options = onnxruntime.SessionOptions()
        if threads:
            options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            reason = str(error).strip().splitlines()[-1]
            raise ValueError(f"{model}: ONNX Runtime cannot load it ({reason}); export it again") from None
        self._input = self._session.get_inputs()[0].name

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        result = self._session.run(None, {self._input: np.ascontiguousarray(windows)})
        return np.asarray(result[0], dtype=np.float32)
