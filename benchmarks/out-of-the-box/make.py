"""Makes `flair-whole-tumor`, the model that ships with decaseg: generates its cases, trains, judges, exports, ships.

    python benchmarks/out-of-the-box/make.py WORK [--minutes 35 45 30] [--seeds 2 3 4] [--judge DATASET] [--ship]

Training goes in stages, each from the weights that the one before ended with: the first from chance, the last once
for every seed. No training has another's seed or cases, so that what is learnt is variety. A patch holds a whole brain
(64 x 80 x 64 voxels of 2.3 mm), in training as in prediction. WORK gets `data-1`, `data-2` ... (generated FLAIR
cases at 2 mm, a set a training), `held-out` (24 more, of another seed, that no training sees),
`stage-1`, `stage-2` ... and `run-SEED` (the trainings), `run-mean` (the mean of the seeds' weights) and, for each of
them, `held-out-NAME` (its scores there) and, for every `--judge DATASET`, `judged-NAME-DATASET` (full volumes,
nothing chosen on them). **The mean ships, unless a seed is better on `held-out` by more than chance explains**; with
one stage, so without a common start, the best seed there. `chosen.json` says which. `fp16` and `int8` are its
bundles, gated on generated cases that no step saw. What is there already is kept, so that an interrupted call goes on
where it stopped. `--ship` copies what a user needs to src/decaseg/models. Every step is a command of decaseg and is
printed before it runs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from decaseg.data.phantom import write_dataset
from decaseg.storage.files import read_json, write_json, write_text
from decaseg.storage.provenance import without_folders
from decaseg.storage.shipped import ROOT

NAME = "flair-whole-tumor"
SETTINGS = """mirror=x max_filters=56 max_levels=5 decoder_convs=1 deep_supervision=0
rotation_share=0.5 scale_share=0.5 elastic_share=0.3
intensity_strength=1.5 lr_end=0.02 average_decay=0.997 validation_share=0.03 checkpoint_minutes=3 input_check=brain"""
SPACING = "--spacing 2.3 2.3 2.3"  # from chance; what goes on from a RUN has its spacing
RECIPE = """--recipe default --target whole --patch 64 80 64 --batch-size 1 --base-filters 16
--set"""
KEPT = ("plan.json", "recipe.json", "splits.json", "provenance.json", "weights.safetensors")  # of the RUN
LICENCE = "Apache-2.0"
CERTAIN = 2.0  # standard errors of the paired difference
HELD_OUT, VALIDATION = 24, 10  # generated cases that no step sees: of other seeds; the last of each stage


def main() -> None:
    wishes = read_wishes()
    work = wishes.work
    generate(work / "held-out", HELD_OUT, wishes.data_seed + 1000)
    *shared, last = wishes.minutes
    start = None
    for number, minutes in enumerate(shared):
        data = generate(work / f"data-{number + 1}", wishes.cases, wishes.data_seed + number)
        start = train(work / f"stage-{number + 1}", data, minutes, number, start)
        judge_all(work, start.name, wishes.judge)
    runs = []
    for number, seed in enumerate(wishes.seeds, len(shared)):
        data = generate(work / f"data-{number + 1}", wishes.cases, wishes.data_seed + number)
        runs.append(train(work / f"run-{seed}", data, last, seed, start))
        judge_all(work, runs[-1].name, wishes.judge)
    unseen = work / f"data-{len(shared) + 1}"  # its last cases, by no step: of the first seed, and so the mean's own
    if start is not None and len(runs) > 1:
        runs.append(average(runs, work / "run-mean"))
        judge_all(work, runs[-1].name, wishes.judge)
    best = chosen(work, [run.name for run in runs])
    if best in (names := [f"run-{seed}" for seed in wishes.seeds]):
        unseen = work / f"data-{len(shared) + 1 + names.index(best)}"
    for precision in ("fp16", "int8"):
        if not (work / precision / "MODEL_CARD.md").exists():
            how = "--precision", precision, "--data", unseen, "--licence", LICENCE
            decaseg("export", work / best, "--out", work / precision, *how)
    if wishes.ship:
        judged = [(d.name, read_json(work / f"judged-{best}-{d.name}" / "metrics.json")) for d in wishes.judge]
        trainings = len(shared) + (len(wishes.seeds) if best == "run-mean" else 1)
        ship(work, work / best, trainings * (wishes.cases - VALIDATION), judged)


def train(run: Path, data: Path, minutes: float, seed: int, start: Path | None) -> Path:
    """The RUN: from chance, or from the weights of `start` with half the rate; going on where it stopped."""
    if not finished(run):
        split = data.with_name(f"split-{data.name}.json")
        write_json(split, split_of(data))
        again = ["--resume"] if run.exists() else []
        begun = ["--lr", "2e-3", *SPACING.split()] if start is None else ["--lr", "1e-3", "--from", start]
        budget = ["--minutes", minutes, "--seed", seed, "--split", split]
        decaseg("train", data, "--out", run, *again, *budget, *begun, *RECIPE.split(), *SETTINGS.split())
    return run


def read_wishes() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--cases", type=int, default=320)
    parser.add_argument("--data-seed", type=int, default=61)
    parser.add_argument("--minutes", type=float, nargs="+", default=[35, 45, 30], help="of each stage")
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3, 4], help="of the last stage's runs")
    parser.add_argument("--judge", type=Path, action="append", default=[], metavar="DATASET")
    parser.add_argument("--ship", action="store_true")
    wishes = parser.parse_args()
    if repeated := set(wishes.seeds) & set(range(len(wishes.minutes) - 1)):
        parser.error(f"--seeds {min(repeated)}: a stage before has it; choose from {len(wishes.minutes) - 1} on")
    return wishes


def generate(root: Path, cases: int, seed: int) -> Path:
    if not (root / "dataset.json").exists():
        write_dataset(root, cases, seed, 2.0, varied=True, on_case=say)
    return root


def judge_all(work: Path, name: str, datasets: list[Path]) -> None:
    judge(work / name, work / "held-out", work / f"held-out-{name}")
    for dataset in datasets:
        judge(work / name, dataset, work / f"judged-{name}-{dataset.name}")


def judge(run: Path, dataset: Path, out: Path) -> None:
    if not (out / "metrics.json").exists():
        decaseg("evaluate", run, "--data", dataset, "--cases", "all", "--no-pictures", "--out", out)
    print(out, json.dumps(told(read_json(out / "metrics.json"))), flush=True)


def split_of(data: Path) -> dict[str, list[str]]:
    """The same validation cases for every seed, so that the mean of their weights has some that none saw."""
    names = [
        Path(entry["image"]).name.removesuffix(".nii.gz") for entry in read_json(data / "dataset.json")["training"]
    ]
    return {"train": names[:-VALIDATION], "val": names[-VALIDATION:]}


def average(runs: list[Path], out: Path) -> Path:
    """A RUN with the mean of the others' weights, which a common start keeps near each other.

    After Wortsman et al., Model soups, ICML 2022.
    """
    weights = [load_file(run / "weights.safetensors") for run in runs]
    mean = {name: np.mean([w[name] for w in weights], axis=0, dtype=np.float32) for name in weights[0]}
    out.mkdir(exist_ok=True)
    for name in ("plan.json", "recipe.json", "splits.json", "fingerprint.json"):
        shutil.copy(runs[0] / name, out / name)
    made = read_json(runs[0] / "provenance.json") | {"mean_of_seeds": [run.name for run in runs]}
    write_json(out / "provenance.json", made)
    save_file(mean, out / "weights.safetensors")
    return out


def chosen(work: Path, names: list[str]) -> str:
    """The run that does best on generated cases that none saw, the mean in doubt; patients have no say in it."""
    scores = {name: dice_of(read_json(work / f"held-out-{name}" / "metrics.json")) for name in names}
    found = {name: float(np.mean(values)) for name, values in scores.items()}
    best = max(found, key=lambda name: found[name])
    by_how_many_errors = 0.0
    if "run-mean" in names and best != "run-mean":
        apart = np.subtract(scores[best], scores["run-mean"])
        by_how_many_errors = float(apart.mean() / (apart.std(ddof=1) / len(apart) ** 0.5))
        best = best if by_how_many_errors > CERTAIN else "run-mean"
    rule = "best mean Dice on held-out; the mean of weights unless a seed is better by more than two standard errors"
    said = {"run": best, "rule": rule, "held_out": found, "best_over_mean_in_standard_errors": by_how_many_errors}
    write_json(work / "chosen.json", said)
    print("chosen:", json.dumps(said), flush=True)
    return best


def dice_of(metrics: dict) -> list[float]:
    """Whole-tumour Dice of every case, in the order of their names."""
    (name,) = metrics["structures"]
    return [metrics["cases"][case][name]["dice"] for case in sorted(metrics["cases"])]


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


def ship(work: Path, run: Path, cases: int, judged: list[tuple[str, dict]]) -> None:
    """Puts the model in place: RUN, bundles, card and model.json, whole or not at all."""
    target, fresh = ROOT / NAME, ROOT / f".{NAME}"
    shutil.rmtree(fresh, ignore_errors=True)
    (fresh / "run").mkdir(parents=True)
    for name in KEPT:
        shutil.copy(run / name, fresh / "run" / name)
    made = without_folders(read_json(fresh / "run" / "provenance.json"))
    write_json(fresh / "run" / "provenance.json", made)
    recipe = read_json(fresh / "run" / "recipe.json")
    places = {key: Path(recipe[key]).name for key in ("from_run", "split") if recipe.get(key)}
    write_json(fresh / "run" / "recipe.json", recipe | places)
    for precision in ("fp16", "int8"):
        shutil.copytree(work / precision, fresh / precision)
    facts = {
        "outlines": "the whole tumour of a glioma (oedema, tumour core and all in it), as one structure",
        "image": "one FLAIR image of a skull-stripped brain, any spacing and orientation, 0 outside the brain",
        "training": f"{cases} generated cases at 2 mm; no patient's image",
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
