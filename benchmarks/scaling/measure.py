"""Training throughput of one and two processes on the same processor: the same batches, the whole command.

    python benchmarks/scaling/measure.py ../shared/data/Task04_Hippocampus --record rounds.jsonl [--rounds 3]

Each round runs every variant once, in turn, so that a noisy machine disturbs all alike. A variant is a real
`decaseg train` (`--recipe quick`, batches of 8 shared by the processes), under torchrun where there are two. Counted
are samples a second in the log, without the first epoch. Rounds are appended to the record; the table
is of all in it that have this `--precision`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

VARIANTS = {"1 process x 1 thread": (1, 1), "2 processes x 1 thread": (2, 1), "1 process x 2 threads": (1, 2)}
PAIRS = (("2 processes x 1 thread", "1 process x 1 thread"), ("2 processes x 1 thread", "1 process x 2 threads"))


def samples_per_s(wishes: argparse.Namespace, processes: int, threads: int) -> float:
    """Samples a second over all epochs of a training but its first."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, *(torchrun if processes > 1 else []), "-m", "decaseg", "train", str(wishes.dataset),
            "--out", f"{folder}/run", "--recipe", "quick", "--batch-size", "8", "--epochs", str(wishes.epochs),
            "--val-fraction", "0", "--precision", wishes.precision, "--threads", str(threads),
            "--cache", str(wishes.cache), "--set", f"steps_per_epoch={wishes.steps}",
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        lines = [json.loads(line) for line in Path(folder, "run", "log.jsonl").read_text().splitlines()]
    speeds = [line["samples_per_s"] for line in lines if line["event"] == "epoch"][1:]
    return statistics.harmonic_mean(speeds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--record", type=Path, required=True, help="JSON lines, one a round; appended to")
    parser.add_argument("--cache", type=Path, default=Path("build/scaling-cache"), help="preprocessed cases, kept")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5, help="steps an epoch")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    arguments = parser.parse_args()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    for _ in range(arguments.rounds):
        found = {}
        for name, (processes, threads) in VARIANTS.items():
            found[name] = samples_per_s(arguments, processes, threads)
            print(f"{name}: {found[name]:.2f} samples/s", file=sys.stderr, flush=True)
        with arguments.record.open("a") as file:
            file.write(json.dumps({"commit": commit, "precision": arguments.precision, **found}) + "\n")
    rounds = [json.loads(line) for line in arguments.record.read_text().splitlines()]
    show([one for one in rounds if one.get("precision", "fp32") == arguments.precision])


def show(rounds: list[dict[str, float]]) -> None:
    """Medians, and ratios taken round by round."""
    print(f"n = {len(rounds)} rounds")
    print("| variant | samples a second, median (lowest to highest) |\n| --- | --- |")
    for name in VARIANTS:
        speeds = sorted(one[name] for one in rounds)
        print(f"| {name} | {statistics.median(speeds):.2f} ({speeds[0]:.2f} to {speeds[-1]:.2f}) |")
    for name, beside in PAIRS:
        ratios = sorted(one[name] / one[beside] for one in rounds)
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"{name} against {beside}: {spread} times")


if __name__ == "__main__":
    main()
