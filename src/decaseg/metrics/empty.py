"""The one rule for empty masks: what every metric is where its formula has nothing to divide by or measure from.

| predicted | true  | overlap (`OVERLAP`)   | distance (`DISTANCE`)            | quantity (`QUANTITY`) |
| --------- | ----- | --------------------- | -------------------------------- | --------------------- |
| empty     | empty | 1, the best           | 0 mm, the best                   | as it is              |
| empty     | not   | 0, the worst          | the image's diagonal, the worst  | as it is              |
| not       | empty | 0, the worst          | the image's diagonal, the worst  | as it is              |
| not       | not   | the metric's formula  | the metric's formula             | as it is              |

So no case drops out of a mean, a structure missed is the worst it can be, and no value is ever NaN or infinite.
In the sense of "Metrics reloaded" (Maier-Hein, Reinke et al., Nature Methods 2024, doi 10.1038/s41592-023-02151-z),
where undefined values must not be left to the software; docs/explanation/metrics.md argues it and names the price.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from decaseg.metrics.pair import MaskPair


@dataclass(frozen=True)
class EmptyRule:
    """What a kind of metric is when both masks are empty, and when exactly one is; None: its formula holds always."""

    both: Callable[[MaskPair], float] | None
    one: Callable[[MaskPair], float] | None


OVERLAP = EmptyRule(both=lambda pair: 1.0, one=lambda pair: 0.0)
DISTANCE = EmptyRule(both=lambda pair: 0.0, one=lambda pair: pair.diagonal_mm)
QUANTITY = EmptyRule(both=None, one=None)


def with_rule(formula: Callable[[MaskPair], float], rule: EmptyRule, pair: MaskPair) -> float:
    """The metric's value: by the rule where a mask is empty, by its formula elsewhere."""
    empty = (pair.predicted_voxels == 0) + (pair.true_voxels == 0)
    special = (None, rule.one, rule.both)[empty]
    return float((special or formula)(pair))


def share(part: float, whole: float) -> float:
    """`part / whole`, and 1 where there is no whole: nothing was there to get wrong.

    With both masks non-empty only specificity meets that, where the truth fills the image.
    """
    return part / whole if whole else 1.0
