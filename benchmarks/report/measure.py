"""How large a report of N cases is and how long it takes: `python benchmarks/report/measure.py EVALUATION [N]`.

EVALUATION is a folder that `decaseg evaluate` wrote, with pictures. Its cases are repeated under new names until there
are N (50), each with its overlay, its scrolling picture and a turning one (where it has none, the scrolling one once
more), in a temporary folder.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

from decaseg.reporting.material import Beside
from decaseg.reporting.page import build_report


def repeated(source: Path, folder: Path, n: int) -> Path:
    """An evaluation of `n` cases out of those of `source`, pictures and histograms included."""
    metrics = json.loads((source / "metrics.json").read_text())
    calibration = json.loads((source / "calibration.json").read_text())
    names = sorted(metrics["cases"])
    (folder / "overlays").mkdir(parents=True)
    scores, histograms = {}, {}
    for i in range(n):
        old, new = names[i % len(names)], f"case_{i:03d}"
        scores[new], histograms[new] = metrics["cases"][old], calibration["cases"][old]
        for suffix in (".png", ".gif", "_3d.gif"):
            found = source / "overlays" / f"{old}{suffix}"
            shutil.copy(found if found.is_file() else source / "overlays" / f"{old}.gif",
                        folder / "overlays" / f"{new}{suffix}")  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(metrics | {"cases": scores}))
    (folder / "calibration.json").write_text(json.dumps(calibration | {"cases": histograms}))
    return folder


def main(source: Path, n: int = 50) -> None:
    with tempfile.TemporaryDirectory() as name:
        first, second = (repeated(source, Path(name) / which, n) for which in ("first", "second"))
        for words, beside in (("alone", Beside()), ("compared with another", Beside(compare=second))):
            started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
            path = build_report(first, beside)
            after = resource.getrusage(resource.RUSAGE_SELF)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            size, clock = path.stat().st_size / 1e6, time.perf_counter() - started
            gib = after.ru_maxrss / 2**20
            print(f"{n} cases, {words}: {size:.1f} MB, {clock:.1f} s, {cpu:.1f} s of processor, {gib:.2f} GiB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
