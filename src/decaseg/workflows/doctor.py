"""`decaseg doctor`: what this machine is, what works on it, and how fast."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from decaseg.inference.engines.openvino_engine import VNNI
from decaseg.reporting.table import print_facts
from decaseg.storage.openvino_door import import_openvino
from decaseg.storage.processor import available_cores, cpu_flags, processor_name
from decaseg.storage.provenance import memory_gib

EDGE = 96
CORE = ("numpy", "nibabel")
EXTRAS = {
    "torch": "train", "safetensors": "train", "scipy": "score", "openvino": "runtime", "nncf": "openvino",
    "onnxruntime": "onnx", "jinja2": "report", "tensorboard": "track", "fastapi": "serve", "h5py": "keras",
    "nilearn": "demo",
}  # fmt: skip
FLAGS = ("avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_bf16", "amx_int8")
Row = tuple[str, str, str]


def run(as_json: bool = False) -> int:
    """Prints machine, packages, precisions and the time of a training step and a window of `original`; returns 0.

    What is not installed is said to be missing, and what needs it is left out.
    """
    print("measuring, about 20 s …", file=sys.stderr, flush=True)
    has_torch = _has("torch")
    rows = _machine() + _packages() + _engines()
    rows += _device() + _speed() if has_torch else []
    if as_json:
        print(json.dumps({name: value for name, value, _ in rows}))
    else:
        print_facts("this machine", rows)
    return 0


def _machine() -> list[Row]:
    flags = [flag for flag in FLAGS if flag in cpu_flags()]
    return [
        ("processor", processor_name(), f"{available_cores()} cores usable"),
        ("instructions", ", ".join(flags) or "none of AVX-512 and AMX", "AMX makes bf16 the faster precision"),
        ("memory", f"{memory_gib() or '?'} GiB", ""),
    ]


def _device() -> list[Row]:
    from decaseg.nets.device import choose_device, choose_precision

    device = choose_device("auto")
    return [
        ("device", device.type, "--device"),
        ("precision", choose_precision("auto", device), "what --precision auto takes here"),
    ]


def _packages() -> list[Row]:
    rows = []
    for package in (*CORE, *EXTRAS):
        try:
            rows.append((package, metadata.version(package), ""))
        except metadata.PackageNotFoundError:
            rows.append((package, "missing", f"pip install 'decaseg[{EXTRAS.get(package, 'all')}]'"))
    return rows


def _engines() -> list[Row]:
    """Which engines can run a model here, and in which precisions of `export`."""
    rows = [("engine torch", "works" if _has("torch") else "missing", "for a RUN")]
    try:
        offered = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except ImportError:
        rows.append(("engine openvino", "missing", "for a BUNDLE"))
    else:
        fast = [one for one, needs in (("bf16", "BF16" in offered), ("int8", bool(VNNI & cpu_flags()))) if needs]
        said = f"for a BUNDLE; {' and '.join(fast) or 'neither bf16 nor int8'} computed as such by this processor"
        rows.append(("engine openvino", ", ".join(("fp32", "fp16", *fast)), said))
    rows.append(("engine onnx", "fp32, fp16" if _has("onnxruntime") else "missing", "for a BUNDLE"))
    return rows


def _has(package: str) -> bool:
    with suppress(ModuleNotFoundError):
        return find_spec(package) is not None
    return False


def _speed() -> list[Row]:
    """One training step and one window of the original network, per precision."""
    import torch

    from decaseg.inference.engines.torch_engine import TorchEngine
    from decaseg.losses import log_dice
    from decaseg.nets.device import autocast, choose_device, set_threads
    from decaseg.nets.spec import NetworkSpec
    from decaseg.nets.unet import build

    set_threads(None)
    device = choose_device("auto")
    spec = NetworkSpec(
        1, 1, (16, 32, 64, 128, 256), ((1, 1, 1), *((2, 2, 2),) * 4), ((3, 3, 3),) * 5,
        norm="batch", nonlinearity="relu", downsample="maxpool",
    )  # fmt: skip
    rows = []
    for precision in ("fp32", "bf16"):
        model: Any = build(spec).to(device)
        model = model.to(memory_format=torch.channels_last_3d)
        optimiser = torch.optim.Adam(model.parameters(), 1e-4)
        image = torch.randn(1, 1, EDGE, EDGE, EDGE, device=device)
        truth = (torch.rand(1, 1, EDGE, EDGE, EDGE, device=device) > 0.9).float()

        def step() -> None:
            model.train()  # noqa: B023 - called inside this turn of the loop
            with autocast(device, precision):  # noqa: B023
                logits = model(image)  # noqa: B023
            optimiser.zero_grad()  # noqa: B023
            log_dice(logits, truth).backward()  # noqa: B023
            optimiser.step()  # noqa: B023
            if device.type == "cuda":
                torch.cuda.synchronize()

        rows.append((f"training step, {precision}", f"{_best(step):.2f} s", f"original network, 1 x {EDGE}^3"))
        window = partial(TorchEngine(model, device, precision), np.zeros((1, 1, EDGE, EDGE, EDGE), np.float32))
        rows.append((f"window, torch {precision}", f"{_best(window):.2f} s", f"1 x {EDGE}^3"))
    return rows + (_openvino_speed(build(spec)) if _has("openvino") else [])


def _openvino_speed(network: Any) -> list[Row]:
    from decaseg.exporting.openvino_ir import write_openvino
    from decaseg.inference.engines.openvino_engine import OpenVinoEngine

    rows = []
    with tempfile.TemporaryDirectory(prefix="decaseg-doctor-") as scratch:
        write_openvino(network, 1, (EDGE, EDGE, EDGE), Path(scratch), "fp32")
        for precision in ("fp32", "bf16"):
            engine = OpenVinoEngine(Path(scratch) / "model.xml", precision)
            if engine.precision == precision:
                window = partial(engine, np.zeros((1, 1, EDGE, EDGE, EDGE), np.float32))
                rows.append((f"window, openvino {precision}", f"{_best(window):.2f} s", f"1 x {EDGE}^3"))
    return rows


def _best(work: Callable[[], object], times: int = 3) -> float:
    work()
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken)
