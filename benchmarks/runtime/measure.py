"""The extra `runtime`: what it installs, how large that is, how soon it predicts, and that it predicts the same.

    python benchmarks/runtime/measure.py --run RUN --images IMAGE …         a fresh environment in build/runtime

Run with the full environment. It exports the RUN, makes a new environment as the Dockerfile does (installs, removes
pip) and there predicts the images that the full environment predicts too. The label maps must be equal. Root on Linux:
the prediction runs as another user on a file system that is read-only but for its output; `--python` must then be one
that other users may run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from decaseg.storage import nifti
from decaseg.storage.processor import processor_name

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534
ENCLOSURE = """mount --bind "$1" "$1"; mount -o remount,bind,ro /; shift
exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@" """
ENCLOSED = os.geteuid() == 0 and subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0
FORBIDDEN = ("torch", "scipy", "safetensors", "onnxruntime", "nncf")


def steps_of_dockerfile(python: str, place: Path) -> None:
    """The RUN line of the Dockerfile, with another folder in the place of /opt/decaseg."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    line = re.search(r"^RUN (python -m venv .*)$", text, re.MULTILINE)[1]  # type: ignore[index]
    line = line.replace("python -m venv", f"{python} -m venv").replace("/opt/decaseg", str(place))
    print(f"$ {' '.join(line.split())}")
    subprocess.run(line, shell=True, check=True, cwd=ROOT, env=clean())


def clean() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "OMP_", "VIRTUAL"))}


def closed(words: list[str], out: Path) -> subprocess.CompletedProcess[str]:
    """The command as the container runs it: no home, no temporary folder and, for root on Linux, who may make
    mounts, another user and a file system that is read-only but for `out`."""
    env = clean() | {"HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": "/nonexistent"}
    out.mkdir(parents=True, exist_ok=True)
    if ENCLOSED:
        os.chown(out, NOBODY, NOBODY)
        words = ["unshare", "--mount", "sh", "-ec", ENCLOSURE, "sh", str(out), *words]
    done = subprocess.run(words, env=env, capture_output=True, text=True, cwd="/")
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}\n{done.stderr}")
    return done


def written_since(stamp: float, *folders: Path) -> list[str]:
    """Files under the folders that are younger than `stamp`."""
    return [str(p) for folder in folders for p in folder.rglob("*") if p.is_file() and p.stat().st_mtime > stamp]


def mb(folder: Path) -> float:
    """Megabytes (10^6) of files, bytecode included."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink()) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a RUN")
    parser.add_argument("--images", type=Path, nargs="+", required=True)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "runtime")
    parser.add_argument("--python", default=sys.executable, help="makes the environment")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    images = [str(path.resolve()) for path in arguments.images]
    bundle, venv = work / "bundle", work / "venv"
    full = [sys.executable, "-m", "decaseg"]
    export = [*full, "export", str(arguments.run), "--out", str(bundle), "--precision", arguments.precision]
    subprocess.run(export, check=True)
    subprocess.run([*full, "predict", str(bundle), *images, "--out", str(work / "full")], check=True)
    steps_of_dockerfile(arguments.python, venv)
    there = sorted(p.name for p in venv.glob("lib/*/site-packages/*") if p.name.split(".")[0] in FORBIDDEN)
    size = mb(venv)
    program, stamp = str(venv / "bin" / "decaseg"), time.time()
    words = [program, "predict", str(bundle), *images, "--out", str(work / "out")]
    said = closed(words, work / "out").stderr
    strange = written_since(stamp, venv, bundle)
    equal = [
        np.array_equal(nifti.read(work / "full" / name).array, nifti.read(work / "out" / name).array)
        for name in (f"{nifti.case_name(path)}.nii.gz" for path in arguments.images)
    ]
    seconds, help_s = [], []
    for number in range(arguments.rounds):
        one = work / f"one-{number}"
        started = time.perf_counter()
        closed([program, "predict", str(bundle), images[0], "--out", str(one)], one)
        seconds.append(time.perf_counter() - started)
        started = time.perf_counter()
        closed([program, "--help"], one)
        help_s.append(time.perf_counter() - started)
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    found = {
        "machine": f"{processor_name()}, {os.cpu_count()} cores, {platform.platform()}",
        "commit": commit.stdout.strip(), "installed_mb": size, "forbidden": there, "written": strange,
        "enclosed": ENCLOSED, "cases": len(equal), "equal": sum(equal), "one_case_s": seconds, "help_s": help_s,
        "stages": said.strip().splitlines()[-1],
    }  # fmt: skip
    print(json.dumps(found, indent=1))
    print(f"installed: {size:.0f} MB (at most 400), {there or 'torch and scipy absent'}")
    print(f"one case, start of the program included: median {statistics.median(seconds):.2f} s, "
          f"{min(seconds):.2f} to {max(seconds):.2f}, n = {len(seconds)} (at most 3)")  # fmt: skip
    print("as nobody, on a read-only file system" if ENCLOSED else "not enclosed: needs root and unshare")
    print(
        f"{sum(equal)} of {len(equal)} label maps equal those of the full environment; files written besides: {strange}"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))
    sys.exit(not (size < 400 and not there and all(equal) and not strange and statistics.median(seconds) < 3))


if __name__ == "__main__":
    main()
