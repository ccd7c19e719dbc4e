"""How good a segmentation is: every metric with its formula in a file of its own, one rule for empty masks.

Siblings of this layer import nothing from here, and this imports no torch: numbers in, numbers out.
"""

from decaseg.metrics.case import DEFAULT_TOLERANCE_MM, CaseScores, score_case
from decaseg.metrics.choices import METRICS, Metric
from decaseg.metrics.pair import MaskPair
from decaseg.metrics.summary import Statistic, Summary, bootstrap_ci95, summarise, write_csv

__all__ = [
    "DEFAULT_TOLERANCE_MM",
    "METRICS",
    "CaseScores",
    "MaskPair",
    "Metric",
    "Statistic",
    "Summary",
    "bootstrap_ci95",
    "score_case",
    "summarise",
    "write_csv",
]
