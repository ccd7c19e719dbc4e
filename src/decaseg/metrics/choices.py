"""The metrics there are, by the names they have in metrics.json. A new one is a new file and a line here.

`METRICS` are always computed, `LESION_METRICS` where lesions are asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from decaseg.metrics.assd_mm import assd_mm
from decaseg.metrics.dice import dice
from decaseg.metrics.empty import DISTANCE, OVERLAP, QUANTITY, EmptyRule, with_rule
from decaseg.metrics.hd95_mm import hd95_mm
from decaseg.metrics.iou import iou
from decaseg.metrics.lesion_counts import lesions_false, lesions_found, lesions_missed
from decaseg.metrics.lesion_dice import lesion_dice
from decaseg.metrics.lesion_hd95_mm import lesion_hd95_mm
from decaseg.metrics.nsd import nsd
from decaseg.metrics.pair import MaskPair
from decaseg.metrics.precision import precision
from decaseg.metrics.sensitivity import sensitivity
from decaseg.metrics.specificity import specificity
from decaseg.metrics.volume_error_ml import volume_error_ml
from decaseg.metrics.volume_ml import volume_ml, volume_truth_ml


@dataclass(frozen=True)
class Metric:
    """A formula for pairs of non-empty masks, the rule that says what it is for empty ones, and which way is better.

    `better` is 1 where more is better, -1 where less is, 0 where neither is, as of a volume.
    """

    formula: Callable[[MaskPair], float]
    rule: EmptyRule
    better: int

    def __call__(self, pair: MaskPair) -> float:
        return with_rule(self.formula, self.rule, pair)


METRICS: dict[str, Metric] = {
    "dice": Metric(dice, OVERLAP, better=1),
    "hd95_mm": Metric(hd95_mm, DISTANCE, better=-1),
    "nsd": Metric(nsd, OVERLAP, better=1),
    "sensitivity": Metric(sensitivity, OVERLAP, better=1),
    "specificity": Metric(specificity, OVERLAP, better=1),
    "precision": Metric(precision, OVERLAP, better=1),
    "volume_ml": Metric(volume_ml, QUANTITY, better=0),
    "iou": Metric(iou, OVERLAP, better=1),
    "assd_mm": Metric(assd_mm, DISTANCE, better=-1),
    "volume_truth_ml": Metric(volume_truth_ml, QUANTITY, better=0),
    "volume_error_ml": Metric(volume_error_ml, QUANTITY, better=-1),
}

LESION_METRICS: dict[str, Metric] = {
    "lesion_dice": Metric(lesion_dice, OVERLAP, better=1),
    "lesion_hd95_mm": Metric(lesion_hd95_mm, DISTANCE, better=-1),
    "lesions_found": Metric(lesions_found, QUANTITY, better=0),
    "lesions_missed": Metric(lesions_missed, QUANTITY, better=-1),
    "lesions_false": Metric(lesions_false, QUANTITY, better=-1),
}


def better(metric: str) -> int:
    """Which way the metric of this name is better: 1 up, -1 down, 0 neither, which unknown ones are too."""
    known = METRICS.get(metric) or LESION_METRICS.get(metric)
    return known.better if known else 0
