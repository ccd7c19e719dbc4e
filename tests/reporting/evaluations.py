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
        lines.append({"event": "epoch", **at, "train_loss": 1 / epoch, "lr": 0.001 / epoch, "wait_share": 0.05})
        if epoch % 2 == 0:
            dice = {"core": 0.2 * epoch, "rim": 0.1 * epoch}
            lines.append({"event": "validation", **at, "mean_dice": 0.15 * epoch, "dice": dice})
    text = "\n".join(json.dumps(line) for line in lines) + '\n[1, 2]\n{"event": "epoch", "epoch": 5, "tr'
    (folder / "log.jsonl").write_text(text)
    return folder


def write_evaluation(
    folder: Path, cases: list[str], structures: tuple[str, ...] = ("core", "rim"), shift: float = 0.0, **more
) -> Path:
    """The first case is the worst, the last the best; every case but the second has an overlay and a GIF.

    `shift` is added to every Dice but the last case's.
    """
    overlays = folder / "overlays"
    overlays.mkdir(parents=True)
    rng = np.random.default_rng(0)
    scores = {case: {name: _row(i, len(cases), shift) for name in structures} for i, case in enumerate(cases)}
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


def _row(place: int, count: int, shift: float) -> dict[str, float]:
    better = shift if place < count - 1 else 0.0
    true, predicted = 10.0 + place, 9.0 + place + 0.2 * (place % 3)
    return {
        "dice": round(0.5 + 0.4 * place / count + better, 4),
        "hd95_mm": 3.0,
        "volume_ml": predicted,
        "volume_truth_ml": true,
    }


def add_turning(folder: Path, case: str) -> None:
    """A view of the case in 3D, as evaluate writes it."""
    frames = [Image.new("RGB", (80, 60), (40 * i, 0, 90)) for i in range(5)]
    path = folder / "overlays" / f"{case}_3d.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=90)


def add_calibration(folder: Path) -> None:
    """Histograms of an overconfident model, a case and structure each."""
    metrics = json.loads((folder / "metrics.json").read_text())
    rows = [[0, 9000, 10.0, 20], [4, 100, 22.0, 10], [10, 100, 52.0, 30], [19, 400, 390.0, 350]]
    cases = {case: dict.fromkeys(structures, rows) for case, structures in metrics["cases"].items()}
    (folder / "calibration.json").write_text(json.dumps({"bins": 20, "cases": cases}))
    (folder / "metrics.json").write_text(json.dumps(metrics | {"calibration": {"file": "calibration.json"}}))


def write_benchmark(folder: Path, names: tuple[str, ...] = ("run", "bundle")) -> Path:
    folder.mkdir(parents=True)
    models = []
    for i, name in enumerate(names):
        seconds = 2.0 / (i + 1)
        models.append({
            "name": name,
            "engine": ("torch", "openvino", "onnx")[i % 3],
            "precision": "fp32",
            "stored_precision": "fp32" if i == 0 else "int8",
            "case_s": {"median": seconds, "quartiles": [0.9 * seconds, 1.1 * seconds], "n": 7},
            "times_as_fast_case": {"median": i + 1.0, "ci95": [i + 0.9, i + 1.1], "n": 7},
            "peak_gib": 1.25,
            "dice": {"mean": 0.9 - 0.001 * i, "ci95": [0.88, 0.92], "n": 5},
            "dice_drop": {"mean": 0.001 * i, "ci95": [-0.001, 0.003], "n": 5},
        })  # fmt: skip
    document = {
        "machine": {"processor": "A processor", "cores": 2},
        "settings": {"case": "5 cases of Task", "threads": None},
        "models": models,
        "conclusions": ["bundle is twice as fast."],
    }
    (folder / "benchmark.json").write_text(json.dumps(document))
    return folder


def write_bundle(folder: Path) -> Path:
    folder.mkdir(parents=True)
    parity = {"cases": 4, "mean_dice_source": 0.9, "mean_dice_export": 0.8975, "max_dice_drop": 0.01}
    (folder / "bundle.json").write_text(json.dumps({"precision": "int8", "parity": parity}))
    return folder
