"""INT8 against torch and OpenVINO in fp32 and bf16: whole cases, the same trained network, interleaved.

    python benchmarks/int8/measure.py RUN --data DATASET --cases CASE … [--window 144 144 144] [--rounds 5]

RUN must be trained: random weights have values that quantise better or worse than real ones. `--window` predicts with
other windows than the RUN's (a network without fully connected layers takes any that its poolings divide). The RUN is
exported to OpenVINO in fp32 and int8 by `decaseg export` (for int8 `--data` is also what it is calibrated on), then
every contestant predicts every case, one after the other, round by round. Counted is `predictor(image)`: from the
image in memory to the label map on its own grid. Processor seconds are of all threads: where others use the machine,
they say more than the clock. `--without "torch bf16 channels-last"` where the processor has no bf16 and torch takes
minutes to imitate it. `--layers` lists what each layer of the int8 model ran as.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from decaseg.inference.engines import Engine
from decaseg.inference.engines.openvino_engine import OpenVinoEngine
from decaseg.inference.engines.torch_engine import load_network, load_torch
from decaseg.inference.predictor import Predictor
from decaseg.planning.plan import Plan
from decaseg.storage.files import read_json
from decaseg.storage.layouts import read_dataset
from decaseg.storage.provenance import processor_name
from decaseg.storage.rundir import RunDir
from decaseg.workflows.evaluate import read_pair
from decaseg.workflows.opening import load, make_predictor

GOALS = {"torch bf16 channels-last": 2.0, "torch fp32": 6.0}  # how many times as fast int8 is to be
COMMAND = [sys.executable, "-m", "decaseg"]


class PlainTorch:
    """The network in torch's own operations: outside of `inference_mode` decaseg's faster ones stand aside."""

    name = "torch"

    def __init__(self, run: RunDir, plan: Plan, precision: str, layout: torch.memory_format) -> None:
        self.model = load_network(run.weights, plan.network).eval().to(memory_format=layout)
        self.precision, self.layout = precision, layout

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16"):
            batch = torch.from_numpy(windows).contiguous(memory_format=self.layout)
            return self.model(batch).float().contiguous().numpy()


def exported(run: Path, data: Path, work: Path, precision: str, threads: int) -> Path:
    """The bundle that a person would make; its output is shown, and the seconds and GiB it took."""
    out = work / precision
    words = [*COMMAND, "export", str(run), "--out", str(out), "--precision", precision, "--threads", str(threads)]
    words += ["--data", str(data)] if precision == "int8" else []
    started = time.perf_counter()
    process = subprocess.Popen(words)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    print(f"export {precision}: exit {process.returncode}, {time.perf_counter() - started:.0f} s, "
          f"peak {usage.ru_maxrss / 2**20:.2f} GiB", flush=True)  # fmt: skip
    if process.returncode:
        raise SystemExit("there is nothing to measure without it")
    return out


def contestants(run: Path, bundles: Mapping[str, Path], threads: int) -> dict[str, Predictor]:
    folder = RunDir(run)
    plan = Plan.from_json(read_json(folder.plan))
    last = torch.channels_last_3d
    engines: dict[str, Callable[[], Engine]] = {
        "torch fp32": lambda: PlainTorch(folder, plan, "fp32", torch.contiguous_format),
        "torch bf16 channels-last": lambda: PlainTorch(folder, plan, "bf16", last),
        "decaseg predict RUN": lambda: load_torch(folder.weights, plan.network, "cpu", "auto", threads),
        "OpenVINO fp32": lambda: OpenVinoEngine(bundles["fp32"] / "model.xml", "fp32", threads),
        "OpenVINO bf16": lambda: OpenVinoEngine(bundles["fp32"] / "model.xml", "bf16", threads),
    }
    found = {name: make_predictor(plan, make()) for name, make in engines.items()}
    return found | {"OpenVINO int8": replace(load(bundles["int8"], threads=threads), postprocessing=None)}


def dice(predictor: Predictor, labels: NDArray, truth: NDArray) -> float:
    values = []
    for name, those in predictor.target.label_sets.items():
        found, there = np.isin(labels, predictor.target.predicted_sets[name]), np.isin(truth, those)
        both = found.sum() + there.sum()
        values.append(2 * (found & there).sum() / both if both else 1.0)
    return float(np.mean(values))


def with_window(run: Path, window: list[int] | None, work: Path) -> Path:
    """A copy of the RUN that predicts with another window."""
    if window is None:
        return run
    copy = work / "run"
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("cache", "tensorboard", "checkpoints"))
    document = read_json(RunDir(copy).plan) | {"patch": window}
    RunDir(copy).plan.write_text(json.dumps(document))
    return copy


def layers(bundle: Path, window: NDArray[np.float32], threads: int) -> None:
    """What each layer ran as, by OpenVINO's own counters, slowest first."""
    import openvino

    hint = {"INFERENCE_PRECISION_HINT": "f32", "PERF_COUNT": True, "INFERENCE_NUM_THREADS": threads}
    request = openvino.Core().compile_model(str(bundle / "model.xml"), "CPU", hint).create_infer_request()
    for _ in range(2):
        request.infer([window])
    rows = [(p.real_time.total_seconds() * 1e3, p.node_type, p.exec_type) for p in request.profiling_info]
    for ms, kind, ran in sorted(rows, reverse=True):
        if kind in ("Convolution", "Deconvolution", "ConvolutionBackpropData") or ms > 1:
            print(f"{ms:8.1f} ms  {kind:24} {ran}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cases", nargs="+", required=True)
    parser.add_argument("--window", type=int, nargs=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without", nargs="*", default=[], help="names of contestants to leave out, as in the table")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--layers", action="store_true")
    parser.add_argument("--keep", type=Path, help="folder for the exports; those that are there are used again")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    print(f"{' '.join(sys.argv)}\n{processor_name()}, {a.threads} threads, load {os.getloadavg()[0]:.1f}, torch "
          f"{torch.__version__}, {platform.platform()}, commit {commit}, {a.rounds} rounds", flush=True)  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        work = a.keep or Path(scratch)
        run = work / "run" if a.keep and (work / "run").is_dir() else with_window(a.run, a.window, work)
        bundles = {}
        for precision in ("fp32", "int8"):
            there = (work / precision / "bundle.json").is_file()
            bundles[precision] = work / precision if there else exported(run, a.data, work, precision, a.threads)
        print(json.dumps(read_json(bundles["int8"] / "bundle.json").get("parity")), flush=True)
        found = contestants(run, bundles, a.threads)
        if unknown := set(a.without) - (set(found) - {"OpenVINO int8"}):
            raise SystemExit(f"--without {' '.join(sorted(unknown))}: choose from {', '.join(found)}; int8 stays")
        measure(a, {name: one for name, one in found.items() if name not in a.without}, bundles)
    return 0


def measure(a: argparse.Namespace, predictors: Mapping[str, Predictor], bundles: Mapping[str, Path]) -> None:
    dataset = read_dataset(a.data)
    pairs = [read_pair(dataset.case(name), dataset.labels) for name in a.cases]
    seconds: dict[str, list[float]] = {name: [] for name in predictors}
    processor: dict[str, list[float]] = {name: [] for name in predictors}
    scores: dict[str, list[float]] = {name: [] for name in predictors}
    for predictor in predictors.values():  # the first window is slower: memory is taken, weights are packed
        first = np.zeros((1, len(predictor.preprocessing.channels), *predictor.window), np.float32)
        predictor.engine(first)
    for number in range(a.rounds):
        for name, predictor in predictors.items():
            started, before = time.perf_counter(), time.process_time()
            found = [predictor(image).labels for image, _ in pairs]
            seconds[name].append((time.perf_counter() - started) / len(pairs))
            processor[name].append((time.process_time() - before) / len(pairs))
            scores[name] = [dice(predictor, f.array[0], t.array[0]) for f, (_, t) in zip(found, pairs, strict=True)]
        print(f"round {number + 1}: " + ", ".join(f"{n} {s[-1]:.2f} s" for n, s in seconds.items()), flush=True)
    print("\n| | seconds a case, median (least-most) | times int8's | processor seconds | times int8's | mean Dice |")
    print("| --- | --- | --- | --- | --- | --- |")
    mine, answers = seconds["OpenVINO int8"], []
    for name, took in seconds.items():
        ratio = statistics.median(t / i for t, i in zip(took, mine, strict=True))  # rounds share what else was running
        worked = statistics.median(processor[name])
        work_ratio = worked / statistics.median(processor["OpenVINO int8"])
        mean = float(np.mean(scores[name]))
        spread = f"{statistics.median(took):.2f} ({min(took):.2f}-{max(took):.2f})"
        print(f"| {name} | {spread} | {ratio:.2f} | {worked:.2f} | {work_ratio:.2f} | {mean:.4f} |")
        if name in GOALS:
            answers.append(f"{name}: {ratio:.2f}, goal {GOALS[name]:g}: {'met' if ratio >= GOALS[name] else 'MISSED'}")
    reference = next(iter(scores))  # torch fp32, unless it was left out
    drop = float(np.mean(scores[reference]) - np.mean(scores["OpenVINO int8"]))
    print("\n" + "\n".join([*answers, f"Dice drop {drop:.4f}, goal 0.002: {'met' if drop <= 0.002 else 'MISSED'}"]))
    if a.layers:
        predictor = predictors["OpenVINO int8"]
        shape = (1, len(predictor.preprocessing.channels), *predictor.window)
        layers(bundles["int8"], np.random.default_rng(0).normal(size=shape).astype(np.float32), a.threads)


if __name__ == "__main__":
    raise SystemExit(main())
