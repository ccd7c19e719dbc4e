"""The metrics there are, by the names they have in metrics.json. A new one is a new file and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from decaseg.metrics.assd_mm import assd_mm
from decaseg.metrics.dice import dice
from decaseg.metrics.empty import DISTANCE, OVERLAP, QUANTITY, EmptyRule, with_rule
from decaseg.metrics.hd95_mm import hd95_mm
from decaseg.metrics.iou import iou
from decaseg.metrics.nsd import nsd
from decaseg.metrics.pair import MaskPair
from decaseg.metrics.precision import precision
from decaseg.metrics.sensitivity import sensitivity
from decaseg.metrics.specificity import specificity
from decaseg.metrics.volume_error_ml import volume_error_ml
from decaseg.metrics.volume_ml import volume_ml, volume_truth_ml


@dataclass(frozen=True)
class Metric:
    """A formula for pairs of non-empty masks, and the rule that says what it is for empty ones."""

    formula: Callable[[MaskPair], float]
    rule: EmptyRule

    def __call__(self, pair: MaskPair) -> float:
        return with_rule(self.formula, self.rule, pair)


METRICS: dict[str, Metric] = {
    "dice": Metric(dice, OVERLAP),
    "hd95_mm": Metric(hd95_mm, DISTANCE),
    "nsd": Metric(nsd, OVERLAP),
    "sensitivity": Metric(sensitivity, OVERLAP),
    "specificity": Metric(specificity, OVERLAP),
    "precision": Metric(precision, OVERLAP),
    "volume_ml": Metric(volume_ml, QUANTITY),
    "iou": Metric(iou, OVERLAP),
    "assd_mm": Metric(assd_mm, DISTANCE),
    "volume_truth_ml": Metric(volume_truth_ml, QUANTITY),
    "volume_error_ml": Metric(volume_error_ml, QUANTITY),
}
