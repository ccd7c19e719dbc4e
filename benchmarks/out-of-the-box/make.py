"""Makes `flair-whole-tumor`, the model that ships with decaseg: generates its cases, trains, judges, exports, ships.

    python benchmarks/out-of-the-box/make.py WORK [--minutes 70] [--seeds 0 1 2] [--start RUN] [--judge DATASET] [--ship]

WORK gets `data` (generated FLAIR cases at 2 mm), `held-out` (24 more, of other numbers, that no training sees), and for
every seed `run-SEED` (the training), `held-out-SEED` (its scores there) and, for every `--judge DATASET`,
`judged-SEED-NAME` (full volumes, nothing chosen on them). **The seed that ships is the one with the best mean Dice on
`held-out`**; `chosen.json` says which. `fp16` and `int8` are its bundles, gated on generated cases that no step saw.
`--start` goes on from another RUN's weights, with half the rate, instead of from chance. What is there already is kept,
so that an interrupted call goes on where it stopped. `--ship` copies what a user needs to src/decaseg/models. Every step
is a command of decaseg and is printed before it runs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

from decaseg.data.phantom import write_dataset
from decaseg.storage.files import read_json, write_json, write_text
from decaseg.storage.provenance import without_folders
from decaseg.storage.shipped import ROOT

NAME = "flair-whole-tumor"
SETTINGS = """max_filters=56 max_levels=5 deep_supervision=0 rotation_share=0.5 scale_share=0.5 elastic_share=0.3
intensity_strength=1.5 lr_end=0.1 average_decay=0.997 validation_share=0.03 checkpoint_minutes=3 input_check=brain"""
RECIPE = """--recipe default --target whole --patch 64 80 64 --batch-size 1 --base-filters 16
--val-fraction 0.04 --set"""
KEPT = ("plan.json", "recipe.json", "splits.json", "provenance.json", "weights.safetensors")  # of the RUN
LICENCE = "Apache-2.0"
HELD_OUT = 24


def main() -> None:
    wishes = read_wishes()
    work, data, held_out = wishes.work, wishes.work / "data", wishes.work / "held-out"
    generate(data, wishes.cases, wishes.data_seed)
    generate(held_out, HELD_OUT, wishes.data_seed + 1000)
    for seed in wishes.seeds:
        run = work / f"run-{seed}"
        budget = ["--minutes", str(wishes.minutes), "--seed", str(seed)]
        if not finished(run):
            again = ["--resume"] if run.exists() else []
            start = ["--lr", "2e-3"] if wishes.start is None else ["--lr", "1e-3", "--from", wishes.start]
            decaseg("train", data, "--out", run, *again, *budget, *start, *RECIPE.split(), *SETTINGS.split())
        judge(run, held_out, work / f"held-out-{seed}")
        for dataset in wishes.judge:
            judge(run, dataset, work / f"judged-{seed}-{dataset.name}")
    seed = chosen(work, wishes.seeds)
    for precision in ("fp16", "int8"):
        if not (work / precision / "MODEL_CARD.md").exists():
            how = "--precision", precision, "--data", data, "--licence", LICENCE
            decaseg("export", work / f"run-{seed}", "--out", work / precision, *how)
    if wishes.ship:
        judged = [(d.name, read_json(work / f"judged-{seed}-{d.name}" / "metrics.json")) for d in wishes.judge]
        ship(work, work / f"run-{seed}", judged)


def read_wishes() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--cases", type=int, default=320)
    parser.add_argument("--data-seed", type=int, default=21)
    parser.add_argument("--minutes", type=float, default=70)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--start", type=Path, metavar="RUN")
    parser.add_argument("--judge", type=Path, action="append", default=[], metavar="DATASET")
    parser.add_argument("--ship", action="store_true")
    return parser.parse_args()


def generate(root: Path, cases: int, seed: int) -> None:
    if not (root / "dataset.json").exists():
        write_dataset(root, cases, seed, 2.0, varied=True, on_case=say)


def judge(run: Path, dataset: Path, out: Path) -> None:
    if not (out / "metrics.json").exists():
        decaseg("evaluate", run, "--data", dataset, "--cases", "all", "--no-pictures", "--out", out)
    print(out, json.dumps(told(read_json(out / "metrics.json"))), flush=True)


def chosen(work: Path, seeds: list[int]) -> int:
    """The seed that does best on generated cases that none saw; patients have no say in it."""
    found = {seed: told(read_json(work / f"held-out-{seed}" / "metrics.json"))["mean"] for seed in seeds}
    best = max(found, key=lambda seed: found[seed])
    write_json(work / "chosen.json", {"seed": best, "rule": "best mean Dice on held-out", "held_out": found})
    print("chosen: seed", best, json.dumps(found), flush=True)
    return best


def say(done: int, total: int) -> None:
    print(f"generated {done} of {total}", file=sys.stderr, flush=True)


def decaseg(*words: object) -> None:
    command = [sys.executable, "-m", "decaseg", *map(str, words)]
    print("$ decaseg", *map(str, words), flush=True)
    subprocess.run(command, check=True)


def finished(run: Path) -> bool:
    log = run / "log.jsonl"
    return log.is_file() and any('"event": "end"' in line for line in log.read_text().splitlines())


def told(metrics: dict) -> dict[str, object]:
    """The scores of a data set as model.json has them: over cases, of whole-tumour Dice."""
    (name,) = metrics["structures"]
    dice = metrics["structures"][name]["dice"]
    least = min(case[name]["dice"] for case in metrics["cases"].values())
    return {key: dice[key] for key in ("mean", "ci95", "median", "n")} | {"least": least}


def ship(work: Path, run: Path, judged: list[tuple[str, dict]]) -> None:
    """Puts the model in place: RUN, bundles, card and model.json, whole or not at all."""
    target, fresh = ROOT / NAME, ROOT / f".{NAME}"
    shutil.rmtree(fresh, ignore_errors=True)
    (fresh / "run").mkdir(parents=True)
    for name in KEPT:
        shutil.copy(run / name, fresh / "run" / name)
    made = without_folders(read_json(fresh / "run" / "provenance.json"))
    write_json(fresh / "run" / "provenance.json", made)
    for precision in ("fp16", "int8"):
        shutil.copytree(work / precision, fresh / precision)
    trained = read_json(run / "splits.json")
    facts = {
        "outlines": "the whole tumour of a glioma (oedema, tumour core and all in it), as one structure",
        "image": "one FLAIR image of a skull-stripped brain, any spacing and orientation, 0 outside the brain",
        "training": f"{len(trained['train'])} generated cases at 2 mm; no patient's image",
        "licence": LICENCE,
        "judged_on": "real gliomas that no step saw, whole volumes: " + ", ".join(name for name, _ in judged),
        "scores": {name: told(metrics) for name, metrics in judged},
    }
    write_json(fresh / "model.json", facts)
    write_text(fresh / "MODEL_CARD.md", (Path(__file__).parent / "card.md").read_text())
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"shipped: {target} ({size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
