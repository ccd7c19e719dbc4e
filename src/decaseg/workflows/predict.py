"""`decaseg predict`: label maps for images, each on its image's own grid."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from decaseg.reporting.progress import progress
from decaseg.storage import nifti
from decaseg.workflows.models import open_model


def run(
    model: Path,
    inputs: Sequence[Path],
    out: Path,
    engine: str | None = None,
    tta: bool = False,
    probabilities: bool = False,
    step: float = 0.5,
    device: str = "auto",
    threads: int | None = None,
    postprocessing: bool = True,
) -> int:
    """Writes `out/<case>.nii.gz` for every image, and `<case>_probabilities.nii.gz` when asked; returns 0.

    ValueError names the model or image that cannot be used; what was finished before it stays.
    """
    images = find_images(inputs)
    opened = open_model(model, engine, tta, step, device, threads=threads, postprocessing=postprocessing)
    for warning in opened.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    names = "; ".join(f"{value} {name}" for value, name in opened.plan.target.painted_names().items())
    started = time.perf_counter()
    for number, path in enumerate(images, 1):
        case = nifti.case_name(path)
        volume = nifti.read(path)
        with progress(f"{case} ({number} of {len(images)})") as advance:
            try:
                prediction = opened.predictor(volume, probabilities, advance)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from None
        nifti.write(out / f"{case}.nii.gz", prediction.labels, f"decaseg: {names}")
        if prediction.probabilities is not None:
            nifti.write(out / f"{case}_probabilities.nii.gz", prediction.probabilities, f"decaseg: {names}")
    seconds = time.perf_counter() - started
    print(f"{len(images)} predicted in {seconds:.1f} s ({names}): {out}")
    return 0


def find_images(inputs: Sequence[Path]) -> list[Path]:
    """The NIfTI files named, and those in the folders named, in order; ValueError where there are none."""
    found: list[Path] = []
    for path in inputs:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if nifti.is_nifti(p))
            if not inside:
                raise ValueError(f"{path}: holds no .nii or .nii.gz files; name the folder with the images")
            found += inside
        elif not path.exists():
            raise ValueError(f"{path}: there is no such file or folder; check the name")
        else:
            found.append(path)
    by_case: dict[str, Path] = {}
    for path in found:
        case = nifti.case_name(path)
        if case in by_case and by_case[case] != path:
            raise ValueError(f"{path}: has the same case name as {by_case[case]}; predict them into different folders")
        by_case[case] = path
    return list(by_case.values())
