"""Times the pictures of the cases of an evaluation folder: wall and processor seconds, bytes, per kind of picture.

python benchmarks/pictures/measure.py demo/evaluation --cases 3
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from decaseg.reporting.animation import draw_scrolling
from decaseg.reporting.case_pictures import Shown, draw_case
from decaseg.reporting.overlay import known_labels, lay, poster
from decaseg.reporting.planes import make_scene
from decaseg.reporting.turning import draw_turning
from decaseg.storage import nifti


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evaluation", type=Path)
    parser.add_argument("--cases", type=int, default=3)
    parser.add_argument("--whole", action="store_true", help="all structures as one")
    wishes = parser.parse_args()
    shown = json.loads((wishes.evaluation / "metrics.json").read_text())["shown"]
    names = {int(value): name for value, name in shown["labels"].items()}
    folder = wishes.evaluation / "predictions"
    cases = sorted(path.name.removesuffix("_img.nii.gz") for path in folder.glob("*_img.nii.gz"))[: wishes.cases]
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for case in cases:
        image, prediction, truth = (nifti.read(folder / f"{case}_{kind}.nii.gz") for kind in ("img", "pred", "msk"))
        if wishes.whole:
            prediction, truth = (v.with_array((v.array > 0).astype(np.uint8)) for v in (prediction, truth))
            names = {1: "whole"}
        both = Shown(image, prediction, truth, names, f"{case}\nDice", shown["channel"])
        layers = lay(make_scene(image, prediction, truth, known_labels(names), both.channel), names)
        with TemporaryDirectory() as out:
            stem = Path(out) / case
            for what, draw in jobs(stem, layers, both).items():
                rows.setdefault(what, []).append(timed(draw, stem.parent))
    print(f"{len(cases)} cases of {image.array.shape} voxels, {len(names)} structures; medians")
    for what, times in rows.items():
        wall, processor, size = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"{what:22} {wall:6.1f} s  processor {processor:6.1f} s  {size / 1e6:5.2f} MB")


def jobs(stem: Path, layers, shown: Shown) -> dict[str, Callable[[], None]]:
    return {
        "overlay": lambda: poster(stem.with_name(f"{stem.name}.png"), layers, "case"),
        "scrolling GIF": lambda: draw_scrolling(stem, layers, "case", ("gif",)),
        "scrolling WebP": lambda: draw_scrolling(stem, layers, "case", ("webp",)),
        "turning GIF": lambda: draw_turning(stem, layers, "case", ("gif",)),
        "turning WebP": lambda: draw_turning(stem, layers, "case", ("webp",)),
        "all, as evaluate does": lambda: draw_case(stem, shown),
    }


def timed(draw: Callable[[], None], folder: Path) -> tuple[float, float, float]:
    for path in folder.iterdir():
        path.unlink()
    wall, processor = time.perf_counter(), time.process_time()
    draw()
    used = time.perf_counter() - wall, time.process_time() - processor
    return (*used, float(sum(path.stat().st_size for path in folder.iterdir())))


if __name__ == "__main__":
    main()
