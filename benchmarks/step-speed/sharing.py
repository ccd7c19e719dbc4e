"""Training steps a second, alone and with a second process on the same cores, by how long waiting threads turn.

    python benchmarks/step-speed/sharing.py [--rounds 5] [--seconds 5] [--threads 2]

GOMP_SPINCOUNT is how often a thread of GNU's OpenMP looks before it sleeps (docs/decisions/0015). A small U-Net-like
network (24, 48 and 96 filters, instance norm) in bf16, channels-last, batch 4 of 40 x 56 x 40. The settings take turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

from decaseg.storage.processor import processor_name

STEPS = """
import sys, time, torch
from torch import nn
seconds, threads = float(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(threads)
torch.manual_seed(0)
layers, before = [], 1
for filters, stride in ((24, 1), (48, 2), (96, 2)):
    layers += [nn.Conv3d(before, filters, 3, stride, 1), nn.InstanceNorm3d(filters), nn.LeakyReLU()]
    before = filters
network = nn.Sequential(*layers, nn.Conv3d(before, 3, 1)).to(memory_format=torch.channels_last_3d)
image = torch.randn(4, 1, 40, 56, 40).to(memory_format=torch.channels_last_3d)
optimiser = torch.optim.AdamW(network.parameters())

def step():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = network(image).float().square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()

for _ in range(5):
    step()
started, done = time.perf_counter(), 0
while time.perf_counter() - started < seconds:
    step()
    done += 1
print(done / (time.perf_counter() - started))
"""


def rates(spins: str, processes: int, seconds: float, threads: int) -> list[float]:
    env = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    if spins != "default":
        env["GOMP_SPINCOUNT"] = spins
    words = [sys.executable, "-c", STEPS, str(seconds), str(threads)]
    running = [subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    return [float(process.communicate()[0]) for process in running]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    settings = ("default", "30000", "3000", "300")
    alone: dict[str, list[float]] = {one: [] for one in settings}
    for _ in range(arguments.rounds):
        for one in settings:
            alone[one] += rates(one, 1, arguments.seconds, arguments.threads)
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    print(f"{processor_name()}, {os.cpu_count()} cores, n = {arguments.rounds}, commit {commit}")
    print("| GOMP_SPINCOUNT | alone, median (least to most) | two at once, each |")
    print("| --- | --- | --- |")
    for one in settings:
        two = rates(one, 2, arguments.seconds, arguments.threads)
        low, high = min(alone[one]), max(alone[one])
        print(f"| {one} | {statistics.median(alone[one]):.1f} ({low:.1f} to {high:.1f}) | {two[0]:.1f}, {two[1]:.1f} |")


if __name__ == "__main__":
    main()
