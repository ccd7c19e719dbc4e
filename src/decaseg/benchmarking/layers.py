"""Where the time of a network goes, by each engine's own counters: a line a layer (torch: operator and sizes)."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decaseg.inference.engines import Engine
from decaseg.storage.openvino_door import import_openvino

PRECISION = re.compile(r"_(f32|f16|bf16|i8|u8|i32|i64|fp32|fp16)$", re.IGNORECASE)
SETTINGS = ("INFERENCE_PRECISION_HINT", "PERFORMANCE_HINT", "INFERENCE_NUM_THREADS", "NUM_STREAMS")


@dataclass(frozen=True)
class Layer:
    """One layer: its `kind` (Convolution, …), the `kernel` that ran it and the precision it ran in, ms a window."""

    name: str
    kind: str
    kernel: str
    precision: str
    ms: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def layers_of(engine: Engine, window: NDArray[np.float32], model: Path | None, rounds: int) -> list[Layer]:
    """The layers of `rounds` windows (1, C, X, Y, Z), the slowest first, those that took no time left out.

    `model` is the bundle's file; None for torch. Counting costs time itself, so the sum is a little above a window's
    latency elsewhere.
    """
    found = COUNTERS[engine.name](engine, window, model, rounds)
    return sorted((layer for layer in found if layer.ms > 0), key=lambda layer: -layer.ms)


def _openvino(engine: Any, window: NDArray[np.float32], model: Path | None, rounds: int) -> list[Layer]:
    """The CPU plugin's performance counters, of the same settings as the engine's."""
    openvino = import_openvino()

    own = engine.compiled
    known = own.get_property("SUPPORTED_PROPERTIES")
    settings = {name: own.get_property(name) for name in SETTINGS if name in known}
    compiled = openvino.Core().compile_model(str(model), "CPU", settings | {"PERF_COUNT": True})
    ran_in = {}
    for node in compiled.get_runtime_model().get_ordered_ops():
        facts = node.get_rt_info()
        if "runtimePrecision" in facts:
            ran_in[node.get_friendly_name()] = str(facts["runtimePrecision"].astype(str))
    request = compiled.create_infer_request()
    request.infer([window])
    total: dict[str, Layer] = {}
    for _ in range(rounds):
        request.infer([window])
        for entry in request.profiling_info:
            name, kernel = str(entry.node_name), str(entry.exec_type)
            before = total[name].ms if name in total else 0.0
            ms = before + entry.real_time.total_seconds() * 1000 / rounds
            precision = ran_in.get(name) or _precision_in(kernel)
            total[name] = Layer(name, str(entry.node_type), PRECISION.sub("", kernel), precision.lower(), ms)
    return list(total.values())


def _precision_in(kernel: str) -> str:
    found = PRECISION.search(kernel)
    return found[1] if found else ""


def _torch(engine: Engine, window: NDArray[np.float32], model: Path | None, rounds: int) -> list[Layer]:
    """torch.profiler's operators, those of one name and one set of shapes together, by the time spent in themselves."""
    from torch.profiler import ProfilerActivity, profile

    on_gpu = getattr(engine, "device", None) is not None and engine.device.type == "cuda"  # type: ignore[attr-defined]
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * on_gpu
    engine(window)
    with profile(activities=activities, record_shapes=True) as profiler:
        for _ in range(rounds):
            engine(window)
    found = []
    for entry in profiler.key_averages(group_by_input_shape=True):
        if on_gpu and entry.device_type.name != "CUDA":
            continue
        spent_us = entry.self_device_time_total if on_gpu else entry.self_cpu_time_total
        shapes = " ".join("x".join(map(str, shape)) for shape in entry.input_shapes or () if len(shape) > 1)
        calls = entry.count / rounds
        name = f"{shapes} ({calls:g} calls)" if calls > 1 else shapes
        kind = entry.key.removeprefix("aten::")
        found.append(Layer(name, kind, "", "", spent_us / 1000 / rounds))
    return found


def _onnx(engine: Engine, window: NDArray[np.float32], model: Path | None, rounds: int) -> list[Layer]:
    """ONNX Runtime's own profile of a session with one thread a core, as the engine's."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.intra_op_num_threads = int(getattr(engine, "threads", None) or 0)
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        for _ in range(rounds + 1):
            session.run(None, {session.get_inputs()[0].name: window})
        events: Sequence[Any] = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    taken: dict[tuple[str, str], list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            key = event["name"].removesuffix("_kernel_time"), str(event["args"].get("op_name", ""))
            taken.setdefault(key, []).append(event["dur"] / 1000)
    return [
        Layer(name, kind, "", "fp32", sum(ms[-rounds:]) / rounds)  # the first run warms up
        for (name, kind), ms in taken.items()
    ]


COUNTERS = {"openvino": _openvino, "torch": _torch, "plain torch": _torch, "onnx": _onnx}
