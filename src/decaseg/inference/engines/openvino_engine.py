"""Runs an exported network in OpenVINO; needs no torch."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decaseg.storage import no_memory
from decaseg.storage.openvino_door import import_openvino
from decaseg.storage.processor import cpu_flags

# What OpenVINO is asked to compute in. `int8`: the layers that are not quantised stay in fp32.
HINTS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "int8": "f32", "int8 and bf16": "bf16"}
NAMES = {hint: name for name, hint in HINTS.items() if "int8" not in name}
WITHOUT_VNNI = " without VNNI"
VNNI = {"avx512_vnni", "avx_vnni", "amx_int8"}


class OpenVinoEngine:
    """A compiled model. `precision` is what the processor really computes in, which need not be what was asked for.

    OpenVINO would choose bf16 by itself where it can; a bundle that was gated in fp32 must run in fp32, so the
    precision is always asked for by name. A processor that has no bf16 gets fp32. It may be called from several threads
    at once: with `streams`, so many windows are computed side by side, each by its share of the processor's threads.
    MemoryError where memory is refused: another process must go on then, for OpenVINO's caches keep what failed.
    """

    name = "openvino"

    def __init__(self, model: Path, precision: str = "fp32", threads: int | None = None, streams: int = 1) -> None:
        try:
            openvino = import_openvino()
        except ImportError:
            raise ValueError("--engine openvino: OpenVINO is not installed; pip install 'decaseg[runtime]'") from None
        asked = precision.removesuffix(WITHOUT_VNNI)
        if asked not in HINTS:
            raise ValueError(f"{model}: is to compute in {asked!r}, which this version does not know; export it again")
        core = openvino.Core()
        options: dict[str, object] = {
            "INFERENCE_PRECISION_HINT": HINTS[asked],
            "PERFORMANCE_HINT": "LATENCY",
        }
        if streams > 1:
            options["NUM_STREAMS"] = streams
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            self._compiled = core.compile_model(str(model), "CPU", options)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            unloaded = ValueError(f"{model}: OpenVINO cannot load it ({reason}); export it again")
            raise no_memory.or_else(error, unloaded) from None
        self.precision = _precision_of(self._compiled, quantised=asked.startswith("int8"))
        # OpenVINO's binding looks numpy up when it first hands out an array. Two threads that do so at once wait for
        # each other for ever (one has the interpreter's lock, one the binding's; OpenVINO 2026.4). So it is done here.
        _ = openvino.Tensor(np.zeros(1, np.float32)).data
        self._made_from = model, precision, threads
        self._own = threading.local()  # a request serves one thread at a time

    @property
    def compiled(self) -> Any:
        """OpenVINO's own model, for its counters."""
        return self._compiled

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        request = self._own.request
        try:
            # Not `infer`: with one thread it keeps errors to itself, and the output of the call before stays (2026.4).
            request.start_async([np.ascontiguousarray(windows)], share_inputs=True)
            request.wait()
        except RuntimeError as error:  # windows that the model was not made for
            reason = str(error).strip().splitlines()[-1]
            unrun = ValueError(f"{self._made_from[0]}: OpenVINO cannot run it ({reason}); export it again")
            raise no_memory.or_else(error, unrun) from None
        logits = np.asarray(request.get_output_tensor(0).data, dtype=np.float32)
        if len(logits) != len(windows):
            raise MemoryError(f"OpenVINO gave {len(logits)} results for {len(windows)} windows")
        return logits

    def in_streams(self, streams: int) -> OpenVinoEngine:
        """The same model, compiled anew for so many windows at once."""
        return OpenVinoEngine(*self._made_from, streams)


def _precision_of(compiled: Any, quantised: bool) -> str:
    """What a compiled model computes in, by its own word; for int8 also whether the processor has the instructions.

    Without VNNI (Intel's name for it) products of bytes are added up in 16 bits, which can overflow, so that the same
    int8 model gives other numbers. OpenVINO says INT8 of every processor, so Linux is asked; where it does not tell,
    the instructions are taken to be there.
    """
    hint = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    computed = NAMES.get(hint, hint)
    if not quantised:
        return computed
    flags = cpu_flags()
    named = "int8" if computed == "fp32" else f"int8 and {computed}"
    return named + WITHOUT_VNNI if flags and not flags & VNNI else named
