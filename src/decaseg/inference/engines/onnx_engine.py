"""Runs an exported network in ONNX Runtime; needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decaseg.storage import no_memory


class OnnxEngine:
    """An ONNX Runtime session on the processor."""

    name = "onnx"
    precision = "fp32"

    def __init__(self, model: Path, threads: int | None = None) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise ValueError("--engine onnx: ONNX Runtime is not installed; pip install 'decaseg[onnx]'") from None
        self.threads, self._model = threads, model
        _refuse_other_files(model)
        options = onnxruntime.SessionOptions()
        if threads:
            options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            reason = str(error).strip().splitlines()[-1]
            unloaded = ValueError(f"{model}: ONNX Runtime cannot load it ({reason}); export it again")
            raise no_memory.or_else(error, unloaded) from None
        self._input = self._session.get_inputs()[0].name

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            result = self._session.run(None, {self._input: np.ascontiguousarray(windows)})
        except Exception as error:  # of windows that the model was not made for; its classes are ONNX Runtime's own
            reason = str(error).strip().splitlines()[0]
            unrun = ValueError(f"{self._model}: ONNX Runtime cannot run it ({reason}); export it again")
            raise no_memory.or_else(error, unrun) from None
        return np.asarray(result[0], dtype=np.float32)


def _refuse_other_files(model: Path) -> None:
    """ValueError where a tensor's values lie in another file: an export has one file, and no other is to be opened.

    Such a tensor must spell `location`; what does not is spared the parsing.
    """
    try:
        data = model.read_bytes()
    except OSError as error:
        raise ValueError(f"{model}: cannot be read ({error.strerror}); export it again") from None
    if b"location" not in data:
        return
    try:
        import onnx
    except ImportError:
        raise ValueError(f"{model}: must be looked through by onnx first; pip install 'decaseg[onnx]'") from None
    try:
        found = onnx.load_model_from_string(data)
    except Exception:
        raise ValueError(f"{model}: is damaged, or no ONNX model; export it again") from None
    nodes = [node for function in found.functions for node in function.node]
    if any(tensor.data_location or tensor.external_data for tensor in (*_of(found.graph), *_of_nodes(nodes))):
        raise ValueError(f"{model}: keeps its weights in other files, which are not opened; export it again")


def _of(graph: Any) -> Iterator[Any]:
    """Every tensor of an ONNX graph and of the graphs inside it."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[Any]) -> Iterator[Any]:
    for node in nodes:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for graph in (attribute.g, *attribute.graphs):
                yield from _of(graph)
