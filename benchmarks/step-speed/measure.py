"""One training step of the `original` network on 1 x 96^3: decaseg against plain fp32 contiguous PyTorch.

    python benchmarks/step-speed/measure.py [--rounds 5]

Each variant has a process of its own, since memory settings are a process's; the variants take turns (A B C A B C …),
so that a noisy machine disturbs all alike. Printed: the minimum and median of a step, and ratios of medians taken
round by round.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

VARIANTS = ("plain fp32 contiguous", "decaseg fp32 channels-last", "decaseg bf16 channels-last")
EDGE = 96


def step_times(variant: str, steps: int) -> list[float]:
    """Seconds of `steps` training steps after one that is not counted."""
    import torch

    from decaseg.losses import log_dice
    from decaseg.nets.device import autocast, set_threads
    from decaseg.nets.spec import NetworkSpec
    from decaseg.nets.unet import build

    spec = NetworkSpec(
        1, 1, (16, 32, 64, 128, 256), ((1, 1, 1), *((2, 2, 2),) * 4), ((3, 3, 3),) * 5,
        norm="batch", nonlinearity="relu", downsample="maxpool",
    )  # fmt: skip
    torch.manual_seed(0)
    ours = variant.startswith("decaseg")
    if ours:
        set_threads(None)
    model = build(spec).train()
    image, truth = torch.randn(1, 1, EDGE, EDGE, EDGE), (torch.rand(1, 1, EDGE, EDGE, EDGE) > 0.9).float()
    if ours:
        model = model.to(memory_format=torch.channels_last_3d)
        image = image.contiguous(memory_format=torch.channels_last_3d)
    optimiser = torch.optim.Adam(model.parameters(), 1e-4)
    precision = "bf16" if "bf16" in variant else "fp32"
    taken = []
    for _ in range(steps + 1):
        started = time.perf_counter()
        with autocast(torch.device("cpu"), precision):
            logits = model(image)
        optimiser.zero_grad()
        log_dice(logits, truth).backward()
        optimiser.step()
        taken.append(time.perf_counter() - started)
    return taken[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="steps a round")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.variant:
        print(json.dumps(step_times(arguments.variant, arguments.steps)))
        return
    medians: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for number in range(arguments.rounds):
        for variant in VARIANTS:
            command = [sys.executable, __file__, "--variant", variant, "--steps", str(arguments.steps)]
            times = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            medians[variant].append(statistics.median(times))
            print(f"round {number + 1}: {variant:28s} {medians[variant][-1]:.3f} s", file=sys.stderr, flush=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    cpuinfo = Path("/proc/cpuinfo").read_text() if platform.system() == "Linux" else ""
    print(f"commit {commit}; {platform.platform()}; AMX: {'yes' if 'amx_bf16' in cpuinfo else 'no'}; "
          f"n = {arguments.rounds} rounds of {arguments.steps} steps")  # fmt: skip
    plain = medians[VARIANTS[0]]
    print("| variant | median s | min s | times faster than plain (median of rounds, min to max) |")
    print("| --- | --- | --- | --- |")
    for variant, seconds in medians.items():
        ratios = sorted(p / s for p, s in zip(plain, seconds, strict=True))
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"| {variant} | {statistics.median(seconds):.3f} | {min(seconds):.3f} | {spread} |")


if __name__ == "__main__":
    main()
