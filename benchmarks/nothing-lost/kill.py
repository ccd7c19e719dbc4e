"""Kills a training with SIGKILL at random moments, resumes it each time, and compares it with one left alone.

    python benchmarks/nothing-lost/kill.py DATASET --kills 20

Both trainings are the real command line in processes of their own, with dropout on. Every fourth kill
falls on a process that starts (importing, preparing cases), the others on one that trains (steps, validations, saves).
Exit code 0: weights, optimiser, average, step and the log's means are equal to the last bit.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

RECORDER = """
import json, sys, zlib
from decaseg.data import patches
from decaseg import cli
real, file = patches.PatchSampler.batch, open(sys.argv[1], "a")
def batch(self, step):
    made = real(self, step)
    file.write(json.dumps([step, *made.cases, zlib.crc32(made.image), zlib.crc32(made.label)]) + "\\n")
    file.flush()
    return made
patches.PatchSampler.batch = batch
raise SystemExit(cli.call(sys.argv[2:]))
"""  # the command line, with a note of every batch that is cut


def start(data: Path, run: Path, options: list[str], resume: bool) -> subprocess.Popen[bytes]:
    """One process of a training; its batches are noted in RUN.samples, its words in RUN.txt."""
    words = [sys.executable, "-c", RECORDER, f"{run}.samples", "train", str(data), "--out", str(run), *options]
    with Path(f"{run}.txt").open("ab") as said:
        return subprocess.Popen([*words, *(["--resume"] if resume else [])], stdout=said, stderr=said)


def train(data: Path, run: Path, options: list[str], kills: int, seed: int, span_s: float) -> list[int]:
    """Trains to the end through `kills` kills; returns the step each process went on from (-1: new)."""
    draw, begun = random.Random(seed), []
    for kill in range(kills + 1):
        resume = (run / "plan.json").is_file()
        process = start(data, run, options, resume)
        try:
            if kill < kills and kill % 4:
                wait_until_it_trains(process, run, sum(begins(e) for e in events(run)))
            process.wait(draw.uniform(0, span_s) if kill < kills else None)
            if process.returncode:
                raise SystemExit(f"a training failed:\n{Path(f'{run}.txt').read_text()[-3000:]}")
            done = "ended before it was killed"
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            done = "killed"
        steps = [e["step"] for e in events(run) if begins(e)]
        begun.append(steps[-1] if steps else -1)
        print(f"process {kill + 1}: {done}, had gone on from step {begun[-1]}", file=sys.stderr, flush=True)
        if process.returncode == 0:
            break
    return begun


def begins(event: dict) -> bool:
    """Is it what a process logs when its cases are prepared?"""
    return event["event"] in ("start", "resume")


def wait_until_it_trains(process: subprocess.Popen[bytes], run: Path, before: int) -> None:
    """Returns once the log tells of one beginning more than `before`, or the process is gone."""
    while process.poll() is None and sum(begins(e) for e in events(run)) <= before:
        time.sleep(0.005)


def events(run: Path) -> list[dict]:
    """The log's lines; one torn by a kill is left out."""
    found = []
    for line in (run / "log.jsonl").read_text().splitlines() if (run / "log.jsonl").is_file() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def epochs(run: Path) -> dict[int, tuple]:
    """What the log says of each epoch, as it was told last: mean loss and rate."""
    return {e["step"]: (e["epoch"], e["train_loss"], e["lr"]) for e in events(run) if e["event"] == "epoch"}


def samples(run: Path) -> dict[int, list]:
    """The batches that were cut, by number; a number cut twice must be the same batch."""
    found: dict[int, list] = {}
    for line in Path(f"{run}.samples").read_text().splitlines():
        step, *batch = json.loads(line) if line.endswith("]") else [-1]
        if step >= 0 and found.setdefault(step, batch) != batch:
            raise SystemExit(f"{run}: batch {step} was cut in two ways")
    return found


def differences(one: object, other: object, place: str = "") -> list[str]:
    """Where two checkpoints differ in any bit, times of the clock left out."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = {k for k in {*one, *other} if not str(k).endswith("_s")}
        return [d for k in keys for d in differences(one.get(k), other.get(k), f"{place}/{k}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [d for i, (a, b) in enumerate(zip(one, other, strict=True)) for d in differences(a, b, f"{place}/{i}")]
    same = torch.equal(one, other) if torch.is_tensor(one) and torch.is_tensor(other) else one == other
    return [] if same else [place]


def compare(whole: Path, killed: Path, bits: bool) -> list[str]:
    """What differs between two finished trainings; without `bits`, only their samples are compared."""
    last = [torch.load(run / "checkpoints" / "last.pt", weights_only=True) for run in (whole, killed)]
    steps = range(last[0]["step"])
    cut = [[found.get(step) for step in steps] for found in (samples(whole), samples(killed))]
    wrong = [] if cut[0] == cut[1] and None not in cut[0] else ["the samples"]
    if bits:
        wrong += differences(*last)
        wrong += [] if epochs(whole) == epochs(killed) else ["the log's epochs"]
        files = [(run / "weights.safetensors").read_bytes() for run in (whole, killed)]
        wrong += [] if files[0] == files[1] else ["weights.safetensors"]
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-deterministic", action="store_true", help="compare the samples only")
    parser.add_argument("--keep", type=Path, help="folder for the two RUNs; default: a temporary one")
    parser.add_argument("--train", nargs=argparse.REMAINDER, default=[], help="more options of decaseg train, last")
    told = parser.parse_args()
    folder = told.keep or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    options = ["--recipe", "quick",
               "--epochs", str(told.epochs), "--set", "steps_per_epoch=7", "dropout=0.1", "base_filters=4",
               "checkpoint_minutes=0.005", "validation_cases=1", *told.train]  # fmt: skip
    options += [] if told.no_deterministic else ["--deterministic"]
    began = time.perf_counter()
    train(told.dataset, folder / "whole", options, 0, 0, 0.0)
    alone_s = time.perf_counter() - began
    trained_s = next(e["elapsed_s"] for e in events(folder / "whole") if e["event"] == "end")
    span_s = 1.8 * trained_s / max(1, told.kills)  # the last kill comes before the end, or nearly so
    begun = train(told.dataset, folder / "killed", options, told.kills, told.seed, span_s)
    wrong = compare(folder / "whole", folder / "killed", not told.no_deterministic)
    kills = len(begun) - 1
    equal = "samples" if told.no_deterministic else "bits"
    print(json.dumps({"kills": kills, "alone_s": round(alone_s, 1), "went_on_from": begun,
                      "saves": sum(e["event"] == "checkpoint" for e in events(folder / "killed")),
                      f"{equal}_differ": sorted(wrong)[:9]}))  # fmt: skip
    if told.keep is None:
        shutil.rmtree(folder, ignore_errors=True)
    raise SystemExit(1 if wrong or kills < told.kills else 0)


if __name__ == "__main__":
    main()
