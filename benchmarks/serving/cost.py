"""What the model's own process and HTTP cost: an image's time over HTTP against the Predictor in this process.

    python benchmarks/serving/cost.py BUNDLE IMAGE --rounds 30

Both read the file, predict and write the label map; the two take turns.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from surroundings import Client, Running, heading
from tests.serving.running import RAW

from decaseg import load, read, write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("--rounds", type=int, default=30)
    args = parser.parse_args()
    print(heading())
    predictor, body = load(args.model, threads=1), args.image.read_bytes()
    here, there = [], []
    with tempfile.TemporaryDirectory() as folder, Running(args.model, Path(folder) / "s", "--threads", 1) as server:
        client = Client(server.port)
        for _ in range(args.rounds + 3):
            started = time.perf_counter()
            write(Path(folder) / "here.nii.gz", predictor(read(args.image)).labels)
            here.append(time.perf_counter() - started)
            started = time.perf_counter()
            assert client.ask(body, RAW)[0] == 200
            there.append(time.perf_counter() - started)
    one, two = (np.percentile(np.array(found[3:]) * 1000, [25, 50, 75]) for found in (here, there))
    print(f"in this process {one[1]:.1f} ms ({one[0]:.1f} to {one[2]:.1f}), over HTTP {two[1]:.1f} ms "
          f"({two[0]:.1f} to {two[2]:.1f}): {two[1] - one[1]:+.1f}; median, quartiles of {args.rounds}")  # fmt: skip


if __name__ == "__main__":
    main()
