"""What the Medical Segmentation Decathlon's normalised surface distance forgives: a tolerance a task.

Clinicians chose them (Antonelli et al., Nature Communications 2022, doi 10.1038/s41467-022-30695-9). The values are
those that SegEvalKit's presets (github.com/aj-das-research/SegEvalKit) give with that paper as their source; they were
not checked against the paper's own text.
"""

from __future__ import annotations

import re

TOLERANCES_MM: dict[str, float] = {
    "Task01_BrainTumour": 5.0,
    "Task02_Heart": 4.0,
    "Task03_Liver": 7.0,
    "Task04_Hippocampus": 1.0,
    "Task05_Prostate": 4.0,
    "Task06_Lung": 2.0,
    "Task07_Pancreas": 5.0,
    "Task08_HepaticVessel": 3.0,
    "Task09_Spleen": 3.0,
    "Task10_Colon": 4.0,
}
NAME = re.compile(r"(?:Task|Dataset)0*(\d+)_(\w+)")


def tolerance_of(dataset: str) -> float | None:
    """The tolerance in mm for every structure of the data set in the folder of this name; None where none is known.

    nnU-Net's names for the same tasks are known too.

    >>> tolerance_of("Task03_Liver"), tolerance_of("Dataset003_Liver"), tolerance_of("my livers")
    (7.0, 7.0, None)
    """
    found = NAME.fullmatch(dataset)
    return TOLERANCES_MM.get(f"Task{int(found[1]):02d}_{found[2]}") if found else None
