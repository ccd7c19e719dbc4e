"""Predicted against measured peak memory of `decaseg predict`, and its memory over many cases in a row.

    python benchmarks/prediction/memory.py large                        512 x 512 x 600, 8 structures
    python benchmarks/prediction/memory.py large --spacing 1.6 --base 32 --shape 256 256 256
    python benchmarks/prediction/memory.py many --cases 1000

Each prediction is a process of its own with weights that are drawn. Measured is its largest resident set
(ru_maxrss), libraries included; predicted is what it says before it starts.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from drawn_runs import ct, hippocampus, write_run

from decaseg.storage import nifti
from decaseg.volume import Volume


def ct_like(shape: tuple[int, int, int]) -> np.ndarray:
    """(X, Y, Z) int16: a body with noise and a few organs, air of -1000 around it; a slice at a time."""
    rng = np.random.default_rng(0)
    image = np.full(shape, -1000, np.int16, order="F")
    x, y = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape[:2]], indexing="ij")
    body = (x / 0.8) ** 2 + (y / 0.6) ** 2 < 1
    for z in range(shape[2]):
        organ = (x - 0.3) ** 2 + (y - 0.1) ** 2 < 0.05 * (1 + np.sin(z / 40))
        values = 40 + 60 * organ + rng.normal(0, 20, shape[:2])
        image[:, :, z] = np.where(body, values, -1000)
    return image


def predict(words: list[str]) -> tuple[float, float, str]:
    """Runs the command; peak GiB, seconds and what it said on standard error."""
    command = [sys.executable, "-m", "decaseg", "predict", *words]
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stderr=errors, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        said = errors.read()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}\n{said}")
    return usage.ru_maxrss / 2**20, time.perf_counter() - started, said


def large(arguments: argparse.Namespace, work: Path) -> dict:
    """One CT-like volume; predicted and measured peak."""
    shape = tuple(arguments.shape)
    run = write_run(work / "run", ct(arguments.base, (arguments.spacing, arguments.spacing, 1.0)))
    image = work / "ct.nii.gz"
    nifti.write(image, Volume.of(ct_like(shape), np.diag([0.8, 0.8, 1.0, 1.0])))
    words = [str(run), str(image), "--out", str(work / "out"), *arguments.more]
    peak, seconds, said = predict(words)
    predicted = float(re.search(r"about ([\d.]+) GiB", said)[1])  # type: ignore[index]
    print(said.strip())
    shown = f"predicted {predicted:.2f}, measured {peak:.2f} GiB ({predicted / peak - 1:+.0%}), {seconds:.0f} s"
    print(f"{' x '.join(map(str, shape))}, {arguments.base} filters: {shown}")
    return {"shape": shape, "base": arguments.base, "predicted_gib": predicted, "measured_gib": peak, "s": seconds}


def many(arguments: argparse.Namespace, work: Path) -> dict:
    """Small cases in a row in one process; its resident set after a tenth of them and at the end."""
    run = write_run(work / "run", hippocampus())
    images, rng = work / "images", np.random.default_rng(0)
    images.mkdir()
    for number in range(arguments.cases):
        shape = rng.integers(30, 56, 3)
        image = rng.integers(0, 200, shape).astype(np.int16)
        nifti.write(images / f"case_{number:05d}.nii", Volume.of(image))
    command = [sys.executable, "-m", "decaseg", "predict", str(run), str(images), "--out", str(work / "out")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    sizes, last = [], ""
    assert process.stderr is not None
    for line in process.stderr:
        last = line
        if line.startswith("case_"):
            pages = Path(f"/proc/{process.pid}/statm").read_text().split()
            sizes.append(int(pages[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20 if len(pages) > 1 else sizes[-1])
    if process.wait():
        raise SystemExit(last)
    tenth = len(sizes) // 10
    early, late = max(sizes[: tenth or 1]), max(sizes[-(tenth or 1) :])
    print(f"{len(sizes)} cases: {early:.0f} MiB in the first tenth, {late:.0f} MiB in the last")
    return {"cases": len(sizes), "early_mib": early, "late_mib": late}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("large", "many"))
    parser.add_argument("--shape", type=int, nargs=3, default=[512, 512, 600])
    parser.add_argument("--base", type=int, default=8, help="filters of the finest level")
    parser.add_argument("--spacing", type=float, default=0.8, help="the network's, in the plane; the image's is 0.8")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--record", type=Path, help="file to add a JSON line to")
    arguments, arguments.more = parser.parse_known_args()  # what is left is for decaseg predict
    work = Path(tempfile.mkdtemp(prefix="decaseg-memory-"))
    try:
        found = {"large": large, "many": many}[arguments.what](arguments, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if arguments.record:
        with arguments.record.open("a") as file:
            file.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
