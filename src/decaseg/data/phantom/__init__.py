"""Brain-tumour cases that nobody had: the demo's data, in the layout of MSD's Task01_BrainTumour."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from pathlib import Path

from decaseg.volume import Volume

CHANNELS = ("FLAIR", "T1w", "t1gd", "T2w")
LABELS = {0: "background", 1: "edema", 2: "non-enhancing tumor", 3: "enhancing tumour"}
SPACINGS_MM = (0.5, 4.0)  # finer costs gigabytes, coarser loses the rim

__all__ = ["CHANNELS", "LABELS", "generate_case", "write_dataset"]


def generate_case(seed: int, number: int, spacing_mm: float = 2.0) -> tuple[Volume, Volume]:
    """One case: image (4, X, Y, Z) int16 in the order of CHANNELS, label (1, X, Y, Z) uint8, both RAS in mm.

    The arguments alone decide every voxel. A missing nilearn (extra `demo`) or arguments without sense raise
    ValueError.
    """
    _checked(seed, spacing_mm)
    if number < 0:
        raise ValueError(f"case number {number}: must be 0 or more")
    from decaseg.data.phantom.case import draw_case  # scipy: only when asked for

    return draw_case(seed, number, spacing_mm)


def write_dataset(
    root: Path,
    cases: int = 24,
    seed: int = 0,
    spacing_mm: float = 2.0,
    workers: int | None = None,
    on_case: Callable[[int, int], None] | None = None,
    varied: bool = False,
) -> Path:
    """Writes `cases` cases and, last, dataset.json under `root`, and returns it; the bytes do not depend on `workers`.

    `varied`: FLAIR alone, of the wide variety that a network for real patients is trained on (`variety`),
    with the seed in cases' names.
    `on_case(done, total)` is called in the caller's thread after each case.
    """
    _checked(seed, spacing_mm)
    if cases < 1:
        raise ValueError(f"cases {cases}: a data set needs at least 1")
    if workers is not None and workers < 1:
        raise ValueError(f"workers {workers}: must be at least 1, or None for one a processor")
    from decaseg.data.phantom.dataset import Kind, write_cases

    kind = Kind(CHANNELS, LABELS)
    if varied:
        from decaseg.data.phantom.variety import draw_varied_case

        kind = Kind(CHANNELS[:1], LABELS, draw_varied_case, f"FLAIR_{seed}")
    return write_cases(Path(root), cases, seed, spacing_mm, workers, on_case, kind)


def _checked(seed: int, spacing_mm: float) -> None:
    low, high = SPACINGS_MM
    if seed < 0:
        raise ValueError(f"seed {seed}: must be 0 or more")
    if not (isfinite(spacing_mm) and low <= spacing_mm <= high):
        raise ValueError(f"spacing_mm {spacing_mm}: must lie between {low} and {high} mm")
