"""What prediction can add to a trained network: means over turned and scaled images, other windows. Mean Dice of each.

    python benchmarks/time-to-accuracy/predictions.py RUN Task04_Hippocampus [--limit N]

On the validation cases of RUN, on the network's own grid (that of the image, turned to RAS, for hippocampi). Nothing is
trained. `apart` is the standard error of the difference from `windows 0.5`, over cases.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation

import decaseg
from decaseg.data.preprocess import preprocess_label
from decaseg.geometry import Int3, int3
from decaseg.inference.predictor import Predictor
from decaseg.inference.windows import slide
from decaseg.storage.files import read_json

TURN_DEG, SCALES = 12, (0.9, 1.1)
MARGINS = (0, 4, 8)  # voxels that one window has more than the case, before it is a multiple of MULTIPLE
MULTIPLE = 8
AS_ALWAYS = "windows 0.5"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--limit", type=int, help="cases at most")
    wishes = parser.parse_args()
    predictor = decaseg.load(wishes.run)
    scores: dict[str, list[float]] = {}
    cases = sorted(read_json(wishes.run / "splits.json")["val"])[: wishes.limit]
    for number, case in enumerate(cases):
        prepared = predictor.prepare(decaseg.read(wishes.data / "imagesTr" / f"{case}.nii.gz"))
        truth = preprocess_label(decaseg.read(wishes.data / "labelsTr" / f"{case}.nii.gz"), prepared.undo)
        for name, logits in asked(predictor, prepared.array).items():
            scores.setdefault(name, []).append(mean_dice(logits.argmax(0), truth))
        print(f"{number + 1} of {len(cases)}", end="\r", flush=True)
    print(f"{wishes.run}: {len(cases)} cases, windows of {predictor.window}")
    for name, values in scores.items():
        differences = np.subtract(values, scores[AS_ALWAYS])
        print(f"{name:24} {np.mean(values):.4f}  apart {differences.std() / len(values) ** 0.5:.5f}")


def asked(predictor: Predictor, image: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """The logits (K, X, Y, Z) that each way of predicting gives."""

    def logits(array: NDArray[np.float32], window: Int3 = predictor.window, step: float = 0.5) -> NDArray[np.float32]:
        return slide(array, window, predictor.engine, step)

    def moved(matrix: NDArray[np.float64]) -> NDArray[np.float32]:
        return warp(logits(warp(image, matrix, 3)), np.linalg.inv(matrix), 1)

    plain = logits(image)
    turned = [
        moved(Rotation.from_euler(axis, sign * TURN_DEG, degrees=True).as_matrix())
        for axis in "xyz"
        for sign in (-1, 1)
    ]
    scaled = [moved(np.eye(3) * scale) for scale in SCALES]
    found = {
        AS_ALWAYS: plain,
        "and turned": mean([plain, *turned]),
        "and scaled": mean([plain, *scaled]),
        "and both": mean([plain, *turned, *scaled]),
        "windows 0.25": logits(image, step=0.25),
        "windows 0.9": logits(image, step=0.9),
    }
    for margin in MARGINS:
        window = int3(-(-(n + margin) // MULTIPLE) * MULTIPLE for n in image.shape[1:])
        found[f"one window, + {margin}"] = logits(image, window)
    return found


def warp(channels: NDArray[np.float32], matrix: NDArray[np.float64], order: int) -> NDArray[np.float32]:
    """(C, X, Y, Z) moved by `matrix` about its middle; its border goes on outside."""
    middle = (np.array(channels.shape[1:]) - 1) / 2
    offset = middle - matrix @ middle
    return np.stack([affine_transform(one, matrix, offset, order=order, mode="nearest") for one in channels])


def mean(logits: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The mean of probabilities (softmax over the classes)."""
    total = np.zeros_like(logits[0])
    for one in logits:
        raised = np.exp(one - one.max(0))
        total += raised / raised.sum(0)
    return total / len(logits)


def mean_dice(found: NDArray, truth: NDArray) -> float:
    return float(
        np.mean([2 * ((found == k) & (truth == k)).sum() / ((found == k).sum() + (truth == k).sum()) for k in (1, 2)])
    )


if __name__ == "__main__":
    main()
