"""The mean Dice of every network of one or several RUNs alone, of each RUN's mean, and of the mean of all.

    python benchmarks/time-to-accuracy/members.py Task04_Hippocampus RUN [RUN ...]

On the validation cases of the first RUN, on the network's own grid, in bf16. Nothing is trained.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from predictions import mean_dice

import decaseg
from decaseg.data.preprocess import preprocess_label
from decaseg.inference.windows import slide
from decaseg.nets.members import members_of
from decaseg.storage.files import read_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    wishes = parser.parse_args()
    cases = sorted(read_json(wishes.runs[0] / "splits.json")["val"])
    everything: list[list[NDArray[np.float32]]] = []
    for run in wishes.runs:
        predictor = decaseg.load(run)
        model = next(part for part in vars(predictor.engine).values() if isinstance(part, torch.nn.Module))
        nets = [partial(logits_of, net) for net in members_of(model)]
        prepared = [predictor.prepare(decaseg.read(wishes.data / "imagesTr" / f"{case}.nii.gz")) for case in cases]
        labels = [decaseg.read(wishes.data / "labelsTr" / f"{case}.nii.gz") for case in cases]
        truths = [preprocess_label(label, one.undo) for label, one in zip(labels, prepared, strict=True)]
        found = [[slide(one.array, predictor.window, net, 0.5) for one in prepared] for net in nets]
        for number, logits in enumerate(found):
            print(f"{run} network {number}: {score([logits], truths):.4f}", flush=True)
        print(f"{run} together: {score(found, truths):.4f}", flush=True)
        everything += found
    print(f"all {len(everything)}: {score(everything, truths):.4f}")


def logits_of(net: torch.nn.Module, windows: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        found = net(torch.as_tensor(windows).to(memory_format=torch.channels_last_3d))
    return np.asarray(found.float().numpy())


def score(networks: list[list[NDArray[np.float32]]], truths: list[NDArray[np.uint8]]) -> float:
    """Mean Dice over cases of the mean of the networks' logits, networks[n][case] (K, X, Y, Z)."""
    together = [np.mean(logits, axis=0).argmax(0) for logits in zip(*networks, strict=True)]
    return float(np.mean([mean_dice(one, truth) for one, truth in zip(together, truths, strict=True)]))


if __name__ == "__main__":
    main()
