"""Mutated uploads on `decaseg serve`: each gets 4xx, or 200 where the image is still sound; the server lives.

    python benchmarks/serving/fuzz.py BUNDLE IMAGE --uploads 5000 --seed 0

A mutant that is answered with 200 is written to a file and read strictly: what the server takes, `decaseg predict`
takes. Exit code 1 for a 5xx, an answer after more than 5 s, a mutant that the two judge differently, or growth.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from surroundings import Client, Counter, Running, heading, memory_mib
from tests.serving.mutants import MUTATIONS, form
from tests.serving.running import RAW

from decaseg.storage import nifti

SLOWEST_S = 5.0


def sound(mutant: bytes, path: Path) -> bool:
    """Would the strict reader of the command line take it?"""
    path.write_bytes(mutant)
    try:
        nifti.read(path)
    except nifti.NiftiError:
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("--uploads", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(heading())
    good, rng = args.image.read_bytes(), np.random.default_rng(args.seed)
    kinds, outcomes, bad = list(MUTATIONS), defaultdict(Counter), []
    slowest, warm = (0.0, ""), {}
    with tempfile.TemporaryDirectory() as folder, Running(args.model, Path(folder) / "s", "--threads", 2) as server:
        client = Client(server.port)
        for number in range(args.uploads):
            kind = kinds[number % len(kinds)]
            mutant = MUTATIONS[kind](good, rng)
            body, headers, in_form = mutant, RAW, number % 4 == 3
            if in_form:
                body, sort = form(mutant, rng)
                headers = {"Content-Type": sort}
            started = time.perf_counter()
            status, answer = client.ask(body, headers)
            seconds = time.perf_counter() - started
            slowest = max(slowest, (seconds, kind))
            outcomes[kind][status] += 1
            agrees = in_form or status != 200 or sound(mutant, Path(folder) / "m.nii.gz")
            if not (status == 200 or 400 <= status < 500) or seconds > SLOWEST_S or not agrees:
                bad.append((number, kind, status, round(seconds, 2), answer[:200]))
            if number == args.uploads // 10:
                warm = memory_mib(server)
        end, starts = memory_mib(server), server.metrics()["decaseg_worker_starts_total"]
        alive = client.ask(good, RAW)[0] == 200 and server.files() == []
    for kind, counts in outcomes.items():
        print(f"  {kind}: {', '.join(f'{count} x {status}' for status, count in sorted(counts.items()))}")
    memory = ", ".join(f"{name} {warm[name]:.0f} -> {end[name]:.0f} MiB" for name in end)
    print(f"{args.uploads} uploads: {len(bad)} bad; slowest {slowest[0]:.2f} s ({slowest[1]}); {memory}; "
          f"model started {starts:.0f} time(s); alive: {alive}")  # fmt: skip
    for one in bad[:20]:
        print("  bad:", *one)
    return 1 if bad or not alive or starts != 1 else 0


if __name__ == "__main__":
    sys.exit(main())
