"""Single 3 x 3 x 3 convolutions, forward and backward, in fp32: Winograd's way along the first axis against torch's.

    python benchmarks/step-speed/winograd.py [--rounds 7]

The two take turns in one process. `taken` is what the thresholds in `nets/winograd.py` decide.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from decaseg.nets.convolution import Conv3d
from decaseg.nets.device import set_threads
from decaseg.nets.winograd import LEAST_CHANNELS, LEAST_LENGTH, convolve

# Batch, channels in and out, map: the layers of nnU-Net's hippocampus plan, wider and narrower and shorter ones.
LAYERS = [
    (9, 16, 16, (40, 56, 40)),
    (9, 32, 32, (40, 56, 40)),
    (9, 64, 32, (40, 56, 40)),
    (9, 64, 64, (20, 28, 20)),
    (9, 128, 64, (20, 28, 20)),
    (9, 128, 128, (10, 14, 10)),
    (2, 32, 32, (96, 96, 96)),
]


def seconds(convolution: Conv3d, x: Tensor, winograd: bool) -> float:
    started = time.perf_counter()
    out: Tensor = convolve(x, convolution.weight, convolution.bias) if winograd else nn.Conv3d.forward(convolution, x)
    torch.autograd.grad(out, (x, convolution.weight), out.detach())
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    threads = set_threads(None)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    cpu = next(
        (s.split(":")[1].strip() for s in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in s), ""
    )
    print(
        f"commit {commit}; {cpu}; {platform.platform()}; torch {torch.__version__}; threads {threads}; rounds {rounds}"
    )
    print("| layer | torch ms | Winograd ms | times faster (median of rounds, min to max) | taken |")
    print("| --- | --- | --- | --- | --- |")
    for batch, inputs, outputs, shape in LAYERS:
        convolution = Conv3d(inputs, outputs, 3, padding=1).to(memory_format=torch.channels_last_3d)
        x = torch.randn(batch, inputs, *shape).contiguous(memory_format=torch.channels_last_3d).requires_grad_()
        taken: dict[bool, list[float]] = {False: [], True: []}
        for number in range(rounds + 2):
            for winograd in (False, True):
                spent = seconds(convolution, x, winograd)
                if number >= 2:  # the first two fetch memory from the kernel
                    taken[winograd].append(spent)
        ratios = sorted(plain / short for plain, short in zip(taken[False], taken[True], strict=True))
        medians = [1000 * statistics.median(taken[way]) for way in (False, True)]
        used = min(inputs, outputs) >= LEAST_CHANNELS and shape[0] >= LEAST_LENGTH
        print(
            f"| {batch} x {inputs} to {outputs}, {' x '.join(map(str, shape))} | {medians[0]:.1f} | {medians[1]:.1f} | "
            f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) | {'yes' if used else 'no'} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
