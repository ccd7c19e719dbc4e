"""Writes RUN, evaluation and BUNDLE folders as training, evaluation and export do, small and made up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

HOSTILE = "<script>alert('x')</script>"


def write_run(folder: Path, train: list[str], val: list[str]) -> Path:
    folder.mkdir(parents=True)
    documents = {
        "plan": {"patch": [32, 40, 24], "net": {"filters": [16, 32], "pool": [[2, 2, 2], [1, 2, 2]]}, "note": HOSTILE},
        "recipe": {"lr": 0.001, "mirror": False},
        "splits": {"train": train, "val": val},
        "provenance": {"versions": {"decaseg": "0.1.0"}, "seed": 0, "command": "decaseg train data --out run"},
    }
    for name, document in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(document))
    lines = [{"event": "start"}, {"event": "a later version's", "what": [1]}]
    for epoch in range(1, 5):
        at = {"epoch": epoch, "step": epoch * 10, "elapsed_s": epoch * 30.0}
        lines.append({"event": "epoch", **at, "train_loss": 1 / epoch, "lr": 0.001 / epoch})
        if epoch % 2 == 0:
            dice = {"core": 0.2 * epoch, "rim": 0.1 * epoch}
            lines.append({"event": "validation", **at, "mean_dice": 0.15 * epoch, "dice": dice})
    text = "\n".join(json.dumps(line) for line in lines) + '\n[1, 2]\n{"event": "epoch", "epoch": 5, "tr'
    (folder / "log.jsonl").write_text(text)
    return folder


def write_evaluation(folder: Path, cases: list[str], structures: tuple[str, ...] = ("core", "rim"), **more) -> Path:
    """The first case is the worst, the last the best; every case but the second has an overlay and a GIF."""
    overlays = folder / "overlays"
    overlays.mkdir(parents=True)
    rng = np.random.default_rng(0)
    scores = {
        case: {name: {"dice": round(0.5 + 0.4 * i / len(cases), 4), "hd95_mm": 3.0} for name in structures}
        for i, case in enumerate(cases)
    }
    statistic = {"mean": 0.7, "median": 0.7, "std": 0.1, "ci95": [0.6, 0.8], "n": len(cases)}
    document = {
        "mean_dice": 0.7,
        "structures": {name: {"dice": statistic, "hd95_mm": statistic} for name in structures},
        "cases": scores,
        **more,
    }
    (folder / "metrics.json").write_text(json.dumps(document))
    for i, case in enumerate(cases):
        if i == 1 or "/" in case:
            continue
        frames = [Image.fromarray(rng.integers(0, 255, (60, 90, 3), dtype=np.uint8)) for _ in range(3)]
        frames[0].save(overlays / f"{case}.png")
        frames[0].save(overlays / f"{case}.gif", save_all=True, append_images=frames[1:], duration=90)
    return folder


def write_bundle(folder: Path) -> Path:
    folder.mkdir(parents=True)
    parity = {"cases": 4, "mean_dice_source": 0.9, "mean_dice_export": 0.8975, "max_dice_drop": 0.01}
    (folder / "bundle.json").write_text(json.dumps({"precision": "int8", "parity": parity}))
    return folder
