"""The trainings of make.py as curves: a table for people and a picture.

    python benchmarks/out-of-the-box/curves.py WORK [--out curves.svg]

A line a seed and tenth of the training: steps so far, loss since the line before, Dice of whole generated validation
cases where it was measured last. The loss is of augmented patches, so it stays above what whole cases would give.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from decaseg.reporting.extras import need
from decaseg.storage.files import replacing

COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9")  # Okabe and Ito's
PARTS = 10
FEWEST = 25  # steps that a line of the log must be the mean of: the last one may be of a handful


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--out", type=Path)
    wishes = parser.parse_args()
    logs = [*sorted(wishes.work.glob("stage-*/log.jsonl")), *sorted(wishes.work.glob("run-*/log.jsonl"))]
    curves = {log.parent.name: read(log) for log in logs}
    print("| training | minutes | steps | training loss | validation Dice |\n| --- | --- | --- | --- | --- |")
    for name, events in curves.items():
        for row in rows(events):
            print(f"| {name} | " + " | ".join(row) + " |")
    if wishes.out is not None:
        draw(curves, wishes.out)


def read(log: Path) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in log.read_text().splitlines()]
    found, last = [], 0
    for event in events:
        if event["event"] == "validation" or (event["event"] == "epoch" and event["step"] - last >= FEWEST):
            found.append(event)
            last = event["step"]
    return found


def rows(events: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """About PARTS lines: the last epoch of every part, with the last validation before it."""
    end = max(event["elapsed_s"] for event in events)
    found: dict[int, tuple[str, ...]] = {}
    dice = "-"
    for event in sorted(events, key=lambda event: event["elapsed_s"]):
        part = min(PARTS - 1, int(PARTS * event["elapsed_s"] / end))
        if event["event"] == "validation":
            dice = f"{event['mean_dice']:.3f}"
            if part in found:
                found[part] = (*found[part][:3], dice)
        else:
            minutes = f"{event['elapsed_s'] / 60:.1f}"
            found[part] = (minutes, str(event["step"]), f"{event['train_loss']:.3f}", dice)
    return [found[part] for part in sorted(found)]


def draw(curves: dict[str, list[dict[str, Any]]], out: Path) -> None:
    need("matplotlib").use("agg", force=False)
    figure = need("matplotlib.figure").Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (name, events), colour in zip(curves.items(), COLOURS, strict=False):
        for axes, kind, value in ((left, "epoch", "train_loss"), (right, "validation", "mean_dice")):
            points = [(e["step"], e[value]) for e in events if e["event"] == kind]
            axes.plot(*zip(*points, strict=True), color=colour, label=name, linewidth=1.3, marker=".")
    left.set_ylabel("training loss (augmented patches)")
    right.set_ylabel("Dice, generated validation cases")
    for axes in (left, right):
        axes.set_xlabel("steps")
        axes.grid(color="0.92")
        axes.spines[["top", "right"]].set_visible(False)
    right.legend(frameon=False)
    with replacing(out) as path:
        figure.savefig(path, format="svg")


if __name__ == "__main__":
    main()
