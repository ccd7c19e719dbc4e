"""One object that predicts: loaded once, used by predict, evaluate, the parity gate and notebooks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from decaseg.data.preprocess import Preprocessing, Undo, preprocess
from decaseg.data.targets import Target
from decaseg.geometry import Int3
from decaseg.inference.engines import Engine
from decaseg.inference.postprocess import PostProcessing
from decaseg.inference.restore import restore_labels, restore_probabilities
from decaseg.inference.windows import slide
from decaseg.volume import Volume


@dataclass(frozen=True)
class Prediction:
    """A label map on the image's own grid; `probabilities` (structures, X, Y, Z) when they were asked for."""

    labels: Volume
    probabilities: Volume | None


@dataclass(frozen=True)
class Predictor:
    """An engine with the preprocessing, windows and target its network was trained with.

    `step` is the distance between windows as a share of their length; `mirror_axes` are the axes flipped when test
    time augmentation (`tta`) is on: those that training mirrored. `postprocessing` cleans the label map, not the
    probabilities.
    """

    engine: Engine
    preprocessing: Preprocessing
    target: Target
    window: Int3
    step: float = 0.5
    tta: bool = False
    mirror_axes: tuple[int, ...] = ()
    postprocessing: PostProcessing | None = None

    def __call__(
        self,
        image: Volume,
        probabilities: bool = False,
        on_window: Callable[[int, int], None] | None = None,
    ) -> Prediction:
        """Predicts a whole volume. Raises ValueError for images the model was not made for."""
        logits, undo = self.logits(image, on_window)
        labels = restore_labels(logits, self.target, undo)
        return Prediction(
            labels if self.postprocessing is None else self.postprocessing.clean(labels, self.target),
            restore_probabilities(logits, self.target, undo) if probabilities else None,
        )

    def logits(
        self, image: Volume, on_window: Callable[[int, int], None] | None = None
    ) -> tuple[NDArray[np.float32], Undo]:
        """Logits (K, X, Y, Z) on the network's grid, and what undoes the preprocessing."""
        if not np.isfinite(image.array).all():
            raise ValueError("holds NaN or infinite values; replace them before predicting")
        array, undo = preprocess(image, self.preprocessing)
        return slide(array, self.window, self._infer, self.step, on_window=on_window), undo

    def _infer(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        logits = self.engine(windows)
        if not self.tta or not self.mirror_axes:
            return logits
        flips = [c for n in range(1, len(self.mirror_axes) + 1) for c in combinations(self.mirror_axes, n)]
        for flip in flips:
            axes = tuple(2 + axis for axis in flip)
            logits = logits + np.flip(self.engine(np.ascontiguousarray(np.flip(windows, axes))), axes)
        return logits / np.float32(len(flips) + 1)
