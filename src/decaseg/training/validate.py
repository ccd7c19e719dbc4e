"""Dice of whole validation cases while training, on the network's own grid; `decaseg evaluate` gives the real score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from decaseg.data.cases import TrainingCase
from decaseg.data.targets import Target
from decaseg.geometry import Int3
from decaseg.metrics.choices import METRICS
from decaseg.metrics.pair import MaskPair
from decaseg.nets.device import autocast
from decaseg.training.distributed import ALONE, Ranks

Slide = Callable[..., NDArray[np.float32]]
Masks = list[NDArray[np.bool_]]
Show = Callable[[TrainingCase, Masks, Masks], None]  # a case, and a mask a structure of truth and of prediction
SHOWN_CASES = 3


def make_validation(
    cases: Sequence[TrainingCase],
    target: Target,
    window: Int3,
    device: torch.device,
    precision: str,
    slide: Slide,
    ranks: Ranks = ALONE,
    show: Show | None = None,
) -> Callable[[nn.Module], Mapping[str, float]]:
    """A function from a model to structure -> mean Dice over `cases`, hard labels, full volumes by sliding window.

    Several ranks share the cases; each gets the scores of all. `show` is handed the first three of a rank's cases, the
    same ones each time.
    """

    def validate(model: nn.Module) -> Mapping[str, float]:
        def infer(windows: NDArray[np.float32]) -> NDArray[np.float32]:
            with torch.inference_mode(), autocast(device, precision):
                batch = torch.from_numpy(windows).to(device).contiguous(memory_format=torch.channels_last_3d)
                result: NDArray[np.float32] = model(batch).float().contiguous().cpu().numpy()
            return result

        model.eval()
        scores: dict[str, list[float]] = {name: [] for name in target.names}
        for number, case in enumerate(cases[ranks.rank :: ranks.size]):
            logits = slide(np.asarray(case.image, dtype=np.float32), window, infer)
            label = np.asarray(case.label)
            truth, found = [np.isin(label, s.labels) for s in target.structures], hard_masks(logits, target)
            if target.ignored is not None:
                counted = label != target.ignored
                truth, found = [mask & counted for mask in truth], [mask & counted for mask in found]
            for name, there, mask in zip(target.names, truth, found, strict=True):
                pair = MaskPair(mask, there, (1.0, 1.0, 1.0), 1.0)
                scores[name].append(METRICS["dice"](pair))
            if show is not None and number < SHOWN_CASES:
                show(case, truth, found)
        everywhere = ranks.gather(scores)
        return {name: float(np.mean([v for some in everywhere for v in some[name]])) for name in target.names}

    return validate


def hard_masks(logits: NDArray[np.float32], target: Target) -> Masks:
    """One (X, Y, Z) mask a structure from logits (K, X, Y, Z)."""
    if target.overlapping:
        return [one > 0 for one in logits]
    classes = logits.argmax(axis=0)
    return [classes == i + 1 for i in range(len(target.structures))]
