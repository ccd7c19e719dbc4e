"""Seconds a case of `flair-whole-tumor`, from the start of the program to the label map, without torch.

    python benchmarks/out-of-the-box/seconds.py FOLDER-OF-IMAGES

Every image is a process of its own, fp16 and INT8 in turn, so that other work on the machine strikes both alike.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NAMES = ("flair-whole-tumor", "flair-whole-tumor/int8")
CODE = "import sys; sys.modules['torch'] = None; from decaseg.cli import call; sys.exit(call(sys.argv[1:]))"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    images = sorted(parser.parse_args().images.glob("*.nii.gz"))
    taken: dict[str, list[float]] = {name: [] for name in NAMES}
    before = os.getloadavg()[0]
    for image in images:
        for name in NAMES:
            taken[name].append(seconds(name, image))
    print("| | median | least | most | n |\n| --- | --- | --- | --- | --- |")
    for name, times in taken.items():
        told = f"{statistics.median(times):.1f} s | {min(times):.1f} s | {max(times):.1f} s"
        print(f"| `{name}` | {told} | {len(times)} |")
    print(f"load {before:.1f} before, {os.getloadavg()[0]:.1f} after, on {os.cpu_count()} cores")


def seconds(name: str, image: Path) -> float:
    with tempfile.TemporaryDirectory() as out:
        started = time.perf_counter()
        command = [sys.executable, "-c", CODE, "predict", name, str(image), "--out", out]
        subprocess.run(command, check=True, capture_output=True)
        spent = time.perf_counter() - started
        if not (Path(out) / image.name).is_file():
            raise RuntimeError(f"{image}: no label map was written")
    return spent


if __name__ == "__main__":
    main()
