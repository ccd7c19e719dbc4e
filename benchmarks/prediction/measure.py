"""From NIfTI in to NIfTI out: `decaseg predict` beside `nnUNetv2_predict` and MONAI's sliding window, on a processor.

    .venv-peers/bin/python benchmarks/prediction/measure.py brain --data ../shared/data
    .venv-peers/bin/python benchmarks/prediction/measure.py hippocampus --data ../shared/data --cases 52

Run with the environment that `benchmarks/peers/setup.sh` makes. The same network (nnU-Net's plan for the task), the
same weights (drawn, or those of `--run RUN`), windows and overlap; every contestant is the command a person would
type, start of the program included, one at a time. `--filters 8 16 32 --patch 64 64 64` tries it out quickly.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "step-speed")]

import drawn_runs  # noqa: E402
from contestants import nnunet_model  # noqa: E402
from peer_data import environment, prepare  # noqa: E402
from settings import SETTINGS, Setting  # noqa: E402

from decaseg.data.preprocess import to_ras  # noqa: E402
from decaseg.storage import nifti  # noqa: E402
from decaseg.storage.layouts import read_dataset  # noqa: E402
from decaseg.volume import Volume  # noqa: E402

BUNDLES = {f"bundle {precision}": precision for precision in ("fp32", "bf16", "int8")}
CONTESTANTS = ("nnunet", "monai", "decaseg", "decaseg fp32", *BUNDLES)
GOALS = {"brain": {"nnunet": 4.0, "monai": 3.0}, "hippocampus": {"nnunet": 8.0}}


@dataclass
class Times:
    """One contestant: wall and processor seconds and peak GiB, a round each."""

    wall_s: list[float] = field(default_factory=list)
    processor_s: list[float] = field(default_factory=list)
    peak_gib: list[float] = field(default_factory=list)
    said: str = ""


def inputs(setting: Setting, data: Path, work: Path, count: int) -> list[str]:
    """The cases in RAS order, as decaseg and MONAI read them (4D) and as nnU-Net does (a file a channel)."""
    source = data / setting.data
    cases = json.loads((source / "dataset.json").read_text())["training"]
    names = []
    for number in range(count):
        case = cases[number % len(cases)]
        name = f"case_{number:03d}"
        names.append(name)
        if (work / "truth" / f"{name}.nii.gz").is_file():
            continue
        image, label = nifti.read(source / case["image"]), nifti.read(source / case["label"])
        straight = np.ascontiguousarray(to_ras(image.array, image.grid))
        affine = np.diag([*(image.spacing_mm[a] for a in np.argsort([w for w, _ in image.grid.axes])), 1.0])
        nifti.write(work / "images" / f"{name}.nii.gz", Volume.of(straight, affine))
        for index, channel in enumerate(straight):
            nifti.write(work / "images_nnunet" / f"{name}_{index:04d}.nii.gz", Volume.of(channel, affine))
        nifti.write(work / "truth" / f"{name}.nii.gz", Volume.of(to_ras(label.array, label.grid).copy(), affine))
    return names


def bundle(work: Path, run: Path, precision: str, data: Path, env: dict[str, str]) -> Path:
    """The RUN exported, at the first time; int8 is calibrated on the data set."""
    out = work / f"bundle-{precision}-of-{sha256(str(run.resolve()).encode()).hexdigest()[:8]}"
    if not (out / "bundle.json").is_file():
        words = [sys.executable, "-m", "decaseg", "export", str(run), "--out", str(out), "--precision", precision]
        words += ["--data", str(data)] if precision == "int8" else []
        subprocess.run(words, env=env, check=True)
    return out


def command(contestant: str, setting: Setting, run: Path, work: Path, out: Path, names: list[str]) -> list[str]:
    """What a person would type; `run` is a RUN or, for `bundle …`, a BUNDLE."""
    images = [str(work / "images" / f"{name}.nii.gz") for name in names]
    if contestant == "nnunet":
        program = str(Path(sys.executable).with_name("nnUNetv2_predict"))
        return [program, "-i", str(work / "images_nnunet"), "-o", str(out), "-d", str(setting.number), "-c",
                "3d_fullres", "-f", "0", "-device", "cpu", "--disable_tta"]  # fmt: skip
    if contestant == "monai":
        return [sys.executable, str(HERE / "contestants.py"), str(run), str(out), *images]
    words = [sys.executable, "-m", "decaseg", "predict", str(run), *images, "--out", str(out)]
    return words + (["--precision", "fp32"] if contestant.endswith("fp32") else [])


def timed(words: list[str], env: dict[str, str], times: Times) -> None:
    started = time.perf_counter()
    before = _children_s()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(words, stdout=said, stderr=said, env=env)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        times.said = said.read()
    if process.returncode:
        raise SystemExit(f"{' '.join(words[:6])} … failed:\n{times.said[-3000:]}")
    times.wall_s.append(time.perf_counter() - started)
    times.processor_s.append(_children_s() - before)
    times.peak_gib.append(usage.ru_maxrss / 2**20)


def _children_s() -> float:
    now = os.times()
    return now.children_user + now.children_system


def dice(found: np.ndarray, truth: np.ndarray, values: list[int]) -> list[float]:
    """Dice of each label value; 1 where both are empty."""
    return [
        2 * ((found == v) & (truth == v)).sum() / total if (total := (found == v).sum() + (truth == v).sum()) else 1.0
        for v in values
    ]


def report(setting: Setting, results: dict[str, Times], work: Path, names: list[str]) -> dict:
    """Prints a row a contestant; returns what the record holds."""
    values = list(range(1, setting.classes))
    rows: dict[str, dict] = {}
    maps = {c: [nifti.read(work / "out" / c / f"{n}.nii.gz").array for n in names] for c in results}
    truth = [nifti.read(work / "truth" / f"{n}.nii.gz").array for n in names]
    for contestant, times in results.items():
        scores = np.mean([dice(m, t, values) for m, t in zip(maps[contestant], truth, strict=True)])
        row = {"wall_s": times.wall_s, "processor_s": times.processor_s, "peak_gib": times.peak_gib,
               "mean_dice": float(scores)}  # fmt: skip
        text = f"{contestant:14s} {statistics.median(times.wall_s):8.1f} s wall, "
        text += f"{statistics.median(times.processor_s):8.1f} s processor, {max(times.peak_gib):5.2f} GiB, "
        text += f"mean Dice {scores:.4f}"
        for other in ("nnunet", "monai"):
            if other in results and other != contestant:
                ratio = statistics.median(a / b for a, b in zip(results[other].wall_s, times.wall_s, strict=True))
                same = np.mean([(a == b).mean() for a, b in zip(maps[contestant], maps[other], strict=True)])
                row |= {f"times_{other}": ratio, f"labels_as_{other}": float(same)}
                text += f", {ratio:.2f} times as fast as {other} ({same:.4%} of voxels alike)"
        rows[contestant] = row
        print(text, flush=True)
    stages = {c: line for c, times in results.items() for line in times.said.splitlines() if "network" in line}
    print("\n".join(f"{contestant}: {line}" for contestant, line in stages.items()))
    for other, goal in GOALS[setting.name].items():
        for contestant, row in rows.items():
            if contestant not in ("nnunet", "monai") and f"times_{other}" in row:
                print(f"goal: {goal:g} times {other}; found {row[f'times_{other}']:.2f} ({contestant})")
    return {"machine": platform.platform(), "cases": len(names), "stages": stages, "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setting", choices=SETTINGS)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("build/peers"))
    parser.add_argument("--run", type=Path, help="a RUN with nnU-Net's shapes; default: weights that are drawn")
    parser.add_argument("--cases", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--contestants", nargs="+", default=CONTESTANTS[:3], choices=CONTESTANTS)
    parser.add_argument("--runtime", help="the Python that predicts bundles, with decaseg[runtime] alone")
    parser.add_argument("--filters", type=int, nargs="+", help="another network, to try this out")
    parser.add_argument("--patch", type=int, nargs=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    setting = SETTINGS[arguments.setting]
    if arguments.filters or arguments.patch:
        filters, patch = arguments.filters or setting.filters, arguments.patch or setting.patch
        setting = replace(setting, filters=tuple(filters), patch=tuple(patch))
    work = arguments.work.resolve()
    prepare(setting, arguments.data, work)
    place = work / f"prediction-{setting.name}-{arguments.cases}"
    plan = {"brain": drawn_runs.brain, "hippocampus": drawn_runs.hippocampus}[setting.name]()
    network = replace(plan.network, filters=setting.filters, strides=setting.strides, kernels=setting.kernels)
    plan = replace(plan, network=network, patch=setting.patch)
    trained = [files.case for files in read_dataset(arguments.data / setting.data).training[:24]]  # int8 asks for some
    run = arguments.run or drawn_runs.write_run(place / "run", plan, train=trained)
    names = inputs(setting, arguments.data, place, arguments.cases)
    plans = work / "nnunet_preprocessed" / setting.folder / "nnUNetPlans.json"
    nnunet_model(run, plans, work / "nnunet_results", setting.folder)
    root = str(HERE.parents[1] / "src")
    env = environment(work) | {"PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
    results = {contestant: Times() for contestant in arguments.contestants}
    models = {c: run if c not in BUNDLES else bundle(place, run, BUNDLES[c], arguments.data / setting.data, env)
              for c in results}  # fmt: skip
    for number in range(arguments.rounds):
        for contestant, times in results.items():
            out = place / "out" / contestant
            for old in (*out.glob("*.nii.gz"), *out.glob(".finished/*")):
                old.unlink()
            words = command(contestant, setting, models[contestant], place, out, names)
            if contestant in BUNDLES and arguments.runtime:
                words[0] = arguments.runtime
            timed(words, env, times)
            print(f"round {number + 1}, {contestant}: {times.wall_s[-1]:.1f} s", file=sys.stderr, flush=True)
    found = report(setting, results, place, names)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
