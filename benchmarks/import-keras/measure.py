"""Imported networks against Keras on real brains; and what is left of the differences between both pipelines.

    python benchmarks/import-keras/measure.py equal DATASET
    python benchmarks/import-keras/measure.py pipeline RUN DATASET
    python benchmarks/import-keras/measure.py fuzz --files 4000

`equal`: networks of Intel's shape with drawn weights, saved by Keras; one case of DATASET (four channels), cut and
normalised as Intel's loader did, through both. `pipeline`: a trained RUN that was imported or fine-tuned from one; each
case of DATASET as Intel's scripts predicted it (the middle crop, one pass), as decaseg does, and with the input turned.
`fuzz`: mutations of a file, read in processes of their own.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from decaseg.data.normalise import middle
from decaseg.storage import nifti
from decaseg.storage.layouts import read_dataset
from decaseg.workflows.opening import open_model


def as_intel_did(array: np.ndarray, crop: tuple[int, int, int]) -> np.ndarray:
    """(C, X, Y, Z) of a file: the middle, each channel with its own mean and deviation."""
    cut = array[(slice(None), *middle(array.shape[1:], crop))].astype(np.float64)
    return ((cut - cut.mean((1, 2, 3), keepdims=True)) / cut.std((1, 2, 3), keepdims=True)).astype(np.float32)


def lps(array: np.ndarray) -> np.ndarray:
    """(C, X, Y, Z) from RAS to the order of BraTS' files, or back."""
    return np.ascontiguousarray(array[:, ::-1, ::-1])


def equal(dataset: Path, crop: int) -> None:
    import torch
    from tests.importing.intel_in_keras import intel_unet, predicted

    from decaseg.inference.engines.torch_engine import load_network
    from decaseg.workflows import import_keras

    volume = nifti.read(read_dataset(dataset).training[0].image)
    assert volume.orientation == "LPS"
    print("| channels | decoder | filters | largest difference of a probability | deviation of Keras' probabilities |")
    print("| --- | --- | --- | --- | --- |")
    for filters in (16, 32):
        for upsample in ("transposed", "nearest"):
            for channels in (1, 4):
                image = as_intel_did(volume.array[:channels], (crop, crop, crop))
                model = intel_unet(filters, channels, 1, upsample, seed=channels)
                with tempfile.TemporaryDirectory() as name:
                    model.save(f"{name}/model.hdf5")
                    import_keras.run(Path(name) / "model.hdf5", Path(name) / "run")
                    opened = open_model(Path(name) / "run", precision="fp32")
                    network = load_network(Path(name) / "run" / "weights.safetensors", opened.plan.network).eval()
                with torch.inference_mode():
                    found = torch.sigmoid(network(torch.from_numpy(lps(image))[None]))[0].numpy()
                truth = predicted(model, image)
                apart = float(np.abs(lps(found) - truth).max())
                print(f"| {channels} | {upsample} | {filters} | {apart:.1e} | {truth.std():.3f} |", flush=True)


def dice(one: np.ndarray, two: np.ndarray) -> float:
    return 2 * float((one & two).sum()) / max(1, int(one.sum() + two.sum()))


def pipeline(run: Path, dataset: Path, cases: int) -> None:
    predictor = open_model(run, precision="fp32").predictor
    crop = predictor.preprocessing.normalisation[0].centre or predictor.window  # fine-tuning may have taken another
    rows = []
    for files in read_dataset(dataset).training[:cases]:
        volume, label = nifti.read(files.image), nifti.read(files.label)
        truth = label.array[0] > 0
        box = middle(volume.shape, crop)
        array = volume.array[:1]
        score = {}
        for name, turn in (("Intel's way", lambda a: a), ("turned by 180 degrees", lambda a: a[:, ::-1, ::-1]),
                           ("turned by numpy.rot90", lambda a: np.rot90(a, axes=(1, 2)))):  # fmt: skip
            image = lps(turn(as_intel_did(array, crop)))
            logits = turn_back(name, lps(predictor.engine(image[None])[0]))
            whole = np.zeros(volume.shape, bool)
            whole[box] = logits[0] > 0
            score[name] = dice(whole, truth)
            score[f"{name}, inside the crop"] = dice(whole[box], truth[box])
        ours = predictor(volume).labels.array[0] > 0
        score["decaseg"] = dice(ours, truth)
        score["decaseg, inside the crop"] = dice(ours[box], truth[box])
        rows.append(score)
        print(files.case, {name: round(value, 4) for name, value in score.items()}, file=sys.stderr, flush=True)
    print("| | mean Dice of the whole tumour | largest difference of a case from Intel's way |")
    print("| --- | --- | --- |")
    for name in rows[0]:
        base = "Intel's way" + (", inside the crop" if "inside" in name else "")
        apart = max(abs(row[name] - row[base]) for row in rows)
        print(f"| {name} | {np.mean([row[name] for row in rows]):.4f} | {apart:.4f} |")
    print(f"n = {len(rows)} cases")


def turn_back(name: str, array: np.ndarray) -> np.ndarray:
    if "180" in name:
        return array[:, ::-1, ::-1]
    return np.rot90(array, -1, axes=(1, 2)) if "rot90" in name else array


def mutant(base: bytes, seed: int) -> bytes:
    """Cut off, bits flipped, eight bytes replaced, or a piece copied over another."""
    dice, data = random.Random(seed), bytearray(base)
    at, source, n = dice.randrange(len(data)), dice.randrange(len(data)), dice.choice((8, 64, 512))
    if seed % 4 == 0:
        del data[at:]
    elif seed % 4 == 1:
        for _ in range(dice.choice((1, 2, 8))):
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    elif seed % 4 == 2:
        data[at : at + 8] = dice.choice((b"\xff" * 8, bytes(8), dice.randbytes(8)))
    else:
        data[at : at + n] = data[source : source + n]
    return bytes(data)


def fuzz(files: int) -> None:
    """Each worker reads mutants until libhdf5 ends it; the next one goes on behind the mutant that did."""
    from tests.importing.intel_in_keras import intel_unet

    with tempfile.TemporaryDirectory() as name:
        intel_unet(2).save(f"{name}/base.hdf5")
        first, crashes, kinds = 0, [], Counter()
        while first < files:
            command = [sys.executable, __file__, "worker", f"{name}/base.hdf5", str(first), str(files)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            lines = done.stdout.split("\n")[:-1]
            kinds.update(line.split(" ", 1)[1] for line in lines if " " in line)
            first = int(lines[-1].split()[0]) + 1
            if done.returncode:
                crashes.append((first - 1, done.returncode))
    print(f"{files} mutants: {dict(kinds)}; ended the process: {len(crashes)} {crashes[:5]}")


def worker(base: str, first: int, last: int) -> None:
    import io

    from decaseg.storage import hdf5

    data = Path(base).read_bytes()
    with tempfile.TemporaryDirectory() as name:
        for seed in range(first, last):
            (Path(name) / "m.h5").write_bytes(mutant(data, seed))
            print(seed, flush=True)
            out = io.BytesIO()
            hdf5.answer(f"{name}/m.h5", out)
            print(seed, "refused" if b'"error"' in out.getvalue()[:30] else "read", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("equal")
    one.add_argument("dataset", type=Path)
    one.add_argument("--crop", type=int, default=144)
    one = verbs.add_parser("pipeline")
    one.add_argument("run", type=Path)
    one.add_argument("dataset", type=Path)
    one.add_argument("--cases", type=int, default=1000)
    verbs.add_parser("fuzz").add_argument("--files", type=int, default=4000)
    one = verbs.add_parser("worker")
    one.add_argument("base")
    one.add_argument("first", type=int)
    one.add_argument("last", type=int)
    wishes = vars(parser.parse_args())
    verb, started = wishes.pop("verb"), time.perf_counter()
    {"equal": equal, "pipeline": pipeline, "fuzz": fuzz, "worker": worker}[verb](**wishes)
    if verb != "worker":
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
        print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, commit {commit.stdout.strip()}, "
              f"{time.perf_counter() - started:.0f} s: {' '.join(sys.argv)}")  # fmt: skip


if __name__ == "__main__":
    main()
