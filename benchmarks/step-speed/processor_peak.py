"""The most a processor (or GPU) was seen to do: the best of large matrix products and of large single convolutions.

python benchmarks/step-speed/processor_peak.py [--device cuda]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import torch
from torch.nn import functional

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def best_s(work: Callable[[], object], device: str, seconds: float) -> float:
    """The shortest of the calls that fit into `seconds`, after one that is not counted; at least two."""
    work()
    taken: list[float] = []
    while len(taken) < 2 or sum(taken) < seconds:
        if device == "cuda":
            torch.cuda.synchronize()
        started = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - started)
    return min(taken)


@torch.no_grad()
def peak(device: str = "cpu", seconds: float = 1.0) -> dict[str, dict[str, float]]:
    """GFLOP/s by precision and kind of work."""
    found: dict[str, dict[str, float]] = {}
    edge = 2048 if device == "cpu" else 8192
    for name, kind in PRECISIONS.items():
        a, b = (torch.randn(edge, edge, device=device).to(kind) for _ in range(2))
        rates = {f"matrix product {edge}^3": 2 * edge**3 / best_s(lambda a=a, b=b: a @ b, device, seconds) / 1e9}
        for channels, size in ((32, 64), (64, 64), (128, 32), (256, 16)):
            image = torch.randn(1, channels, size, size, size, device=device).to(kind)
            image = image.contiguous(memory_format=torch.channels_last_3d)
            weight = torch.randn(channels, channels, 3, 3, 3, device=device).to(kind)
            weight = weight.contiguous(memory_format=torch.channels_last_3d)
            flop = 2 * 27 * channels**2 * size**3
            spent = best_s(lambda i=image, w=weight: functional.conv3d(i, w, padding=1), device, seconds)
            rates[f"convolution {channels} to {channels}, {size}^3"] = flop / spent / 1e9
        found[name] = rates
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    print(json.dumps(peak(parser.parse_args().device), indent=1))
