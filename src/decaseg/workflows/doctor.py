"""`decaseg doctor`: what this machine is, what works on it, and how fast."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import metadata
from typing import Any

import numpy as np

from decaseg.reporting.table import print_facts
from decaseg.storage.processor import available_cores, cpu_flags, processor_name
from decaseg.storage.provenance import memory_gib

EDGE = 96
CORE = ("torch", "numpy", "scipy", "nibabel", "safetensors")
EXTRAS = {"openvino": "openvino", "onnxruntime": "onnx", "jinja2": "report", "tensorboard": "track", "nilearn": "demo"}


def run(as_json: bool = False) -> int:
    """Prints machine, packages, precisions and the time of a training step and a window of `original`; returns 0."""
    print("measuring, about 20 s …", file=sys.stderr, flush=True)
    rows = _machine() + _packages() + _speed()
    if as_json:
        print(json.dumps({name: value for name, value, _ in rows}))
    else:
        print_facts("this machine", rows)
    return 0


def _machine() -> list[tuple[str, str, str]]:
    from decaseg.nets.device import choose_device, choose_precision

    device = choose_device("auto")
    flags = [f for f in ("avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8") if f in cpu_flags()]
    return [
        ("processor", processor_name(), f"{available_cores()} cores usable"),
        ("instructions", ", ".join(flags) or "none of AVX-512 and AMX", "AMX makes bf16 the faster precision"),
        ("memory", f"{memory_gib() or '?'} GiB", ""),
        ("device", device.type, "--device"),
        ("precision", choose_precision("auto", device), "what --precision auto takes here"),
    ]


def _packages() -> list[tuple[str, str, str]]:
    rows = []
    for package in (*CORE, *EXTRAS):
        try:
            rows.append((package, metadata.version(package), ""))
        except metadata.PackageNotFoundError:
            rows.append((package, "missing", f"pip install 'decaseg[{EXTRAS.get(package, 'all')}]'"))
    return rows


def _speed() -> list[tuple[str, str, str]]:
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
    return rows


def _best(work: Callable[[], object], times: int = 3) -> float:
    work()
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken)
