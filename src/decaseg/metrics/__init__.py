"""How good a segmentation is: every metric with its formula in a file of its own, one rule for empty masks.

Siblings of this layer import nothing from here, and this imports no torch: numbers in, numbers out.
"""

from decaseg.metrics.case import DEFAULT_TOLERANCE_MM, CaseScores, score_case
from decaseg.metrics.choices import LESION_METRICS, METRICS, Metric, better
from decaseg.metrics.comparison import Comparison, Difference, compare
from decaseg.metrics.lesions import LESION_RULES, LesionRule
from decaseg.metrics.pair import MaskPair
from decaseg.metrics.summary import Statistic, Summary, bootstrap_ci95, summarise, summarise_groups, write_csv

__all__ = [
    "DEFAULT_TOLERANCE_MM",
    "LESION_METRICS",
    "LESION_RULES",
    "METRICS",
    "CaseScores",
    "Comparison",
    "Difference",
    "LesionRule",
    "MaskPair",
    "Metric",
    "Statistic",
    "Summary",
    "better",
    "bootstrap_ci95",
    "compare",
    "score_case",
    "summarise",
    "summarise_groups",
    "write_csv",
]
