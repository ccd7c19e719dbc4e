"""`decaseg score`: scores label maps that any program made against the true ones."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decaseg.data.targets import Target, make_target
from decaseg.metrics import CaseScores, Comparison, Summary, compare, score_case, summarise, write_csv
from decaseg.metrics.comparison import write_differences_csv
from decaseg.reporting.comparison import print_comparison
from decaseg.reporting.progress import progress
from decaseg.reporting.score_table import print_scores
from decaseg.storage import nifti
from decaseg.storage.dataset import Dataset
from decaseg.storage.files import write_json
from decaseg.storage.layouts import read_dataset
from decaseg.volume import Grid
from decaseg.workflows.scoring import Scoring, Wishes, check_groups, make_scoring, with_groups

MAX_CORNER_SHIFT = 0.05  # of the smallest voxel edge: header rounding stays below it, a wrong grid does not
MAX_FOUND_LABELS = 64  # an image taken for a label map has thousands of values; the largest atlases have named labels


@dataclass(frozen=True)
class Pair:
    """The two files of one case."""

    case: str
    prediction: Path
    label: Path


def run(
    predictions: Path,
    labels: Path,
    out: Path,
    target: str = "all",
    label_names: Sequence[str] = (),
    as_json: bool = False,
    wishes: Wishes | None = None,
    other: Path | None = None,
) -> int:
    """Scores two folders, writes metrics.json and metrics.csv into `out`, prints them; returns the exit code, 0.

    `label_names` are `1=edema` words; without any, dataset.json beside the labels' folder names the labels, and
    without that they are called `label 1`, … `other` is a second folder of predictions to compare the first with,
    which also writes comparison.json and comparison.csv. With `as_json` standard output holds one JSON document.
    """
    names = parsed_names(label_names) or None
    if other is None:
        summary, comparison = score(predictions, labels, out, target, names, wishes), None
    else:
        summary, comparison = compare_folders(predictions, other, labels, out, target, names, wishes)
    document = summary.to_json()
    if comparison is not None:
        document |= {"comparison": _comparison_json(comparison, predictions, other)}
    if as_json:
        print(json.dumps(document, ensure_ascii=False, allow_nan=False))
        return 0
    print_scores(document)
    written = ["metrics.json", "metrics.csv"]
    if comparison is not None:
        print_comparison(document["comparison"])
        written += ["comparison.json", "comparison.csv"]
    print(f"wrote {', '.join(str(out / name) for name in written)}", file=sys.stderr)
    return 0


def score(
    predictions: Path,
    labels: Path,
    out: Path | None = None,
    target: str | None = "all",
    label_names: Mapping[int, str] | None = None,
    wishes: Wishes | None = None,
) -> Summary:
    """Scores every label map in `labels` against the prediction of the same case in `predictions`.

    Writes metrics.json and metrics.csv into `out`, unless that is None, when all cases are scored. `target` is one
    of data.targets.TARGETS. A ValueError names the file, the fault and the way out when a label has no prediction,
    when two files lie on different grids, when values are not whole or not named, or when a file is damaged.
    """
    return _score_folders((predictions,), labels, out, target, label_names, wishes or Wishes())[0]


def compare_folders(
    predictions: Path,
    other: Path,
    labels: Path,
    out: Path | None = None,
    target: str | None = "all",
    label_names: Mapping[int, str] | None = None,
    wishes: Wishes | None = None,
) -> tuple[Summary, Comparison]:
    """Scores two folders of predictions against the same labels: the first one's summary, and the two compared.

    Writes what `score` writes of the first one, and comparison.json and comparison.csv. Both must have every case.
    """
    if predictions.exists() and other.exists() and predictions.samefile(other):
        raise ValueError(f"--compare {other}: is the folder it would be compared with; name another one")
    wishes = wishes or Wishes()
    first, second = _score_folders((predictions, other), labels, out, target, label_names, wishes)
    comparison = compare(first.cases, second.cases)
    if out is not None:
        write_json(out / "comparison.json", _comparison_json(comparison, predictions, other))
        write_differences_csv(out / "comparison.csv", comparison)
    return first, comparison


def _score_folders(
    folders: Sequence[Path],
    labels: Path,
    out: Path | None,
    target: str | None,
    label_names: Mapping[int, str] | None,
    wishes: Wishes,
) -> list[Summary]:
    """A summary a folder of predictions; the first one's is written."""
    if out is not None and out.exists() and not out.is_dir():
        raise ValueError(f"{out}: is a file, not a folder to write to; give --out another name")
    found = [matched(folder, labels) for folder in folders]
    beside = None if label_names else dataset_beside(labels)
    names = label_names or (beside.structures if beside else names_found([pair for pairs in found for pair in pairs]))
    chosen = make_target(target or "all", names, *((beside.regions, beside.ignore) if beside else ()))
    scoring = make_scoring(wishes, chosen, labels.resolve().parent.name)
    check_groups(wishes, [pair.case for pair in found[0]])
    summaries = []
    for pairs in found:
        cases = {pair.case: score_files(pair, chosen, names, scoring) for pair in _with_progress(pairs)}
        summaries.append(replace(summarise(cases), notes={"scoring": scoring.to_json()}))
    summaries[0] = with_groups(summaries[0], wishes)
    if out is not None:
        write_csv(out / "metrics.csv", summaries[0].cases)
        write_json(out / "metrics.json", summaries[0].to_json())
    return summaries


def _comparison_json(comparison: Comparison, first: Path, second: Path | None) -> dict[str, Any]:
    return {"first": str(first), "second": str(second)} | comparison.to_json()


def score_files(pair: Pair, target: Target, names: Mapping[int, str], scoring: Scoring) -> CaseScores:
    """Reads the two files of a case, refuses what does not fit together, and scores it."""
    prediction, prediction_grid = read_label_map(pair.prediction)
    truth, grid = read_label_map(pair.label)
    _check_grids(pair, prediction_grid, grid)
    known = {0, *names, *(() if target.ignored is None else (target.ignored,))}
    _check_values(pair.label, truth, known)
    _check_values(pair.prediction, prediction, known | {1} if target.kind == "whole" else known)
    predicted = target.label_sets
    if target.kind == "whole":  # our own maps have 1 for the whole, other programs' may have every label
        predicted = {name: tuple(sorted({1, *values})) for name, values in predicted.items()}
    more: dict[str, Any] = {
        "tolerances_mm": scoring.tolerances_mm,
        "lesions": scoring.lesions,
        "ignored": target.ignored,
    }
    return score_case(prediction, truth, target.label_sets, grid.spacing_mm, predicted, **more)


def matched(predictions: Path, labels: Path) -> list[Pair]:
    """The cases of the labels' folder, each with its prediction; a ValueError for the first label without one.

    A label map is `<case>.nii.gz` or, in an evaluation's folder, `<case>_msk.nii.gz`; its prediction is
    `<case>_pred.nii.gz` or `<case>.nii.gz`. `<case>_img.nii.gz` and predictions without a label are left alone.
    """
    true_files = _by_case(labels, "_msk", ("_img", "_pred"))
    predicted_files = _by_case(predictions, "_pred", ("_img", "_msk"))
    if not true_files:
        raise ValueError(f"{labels}: has no label maps (.nii.gz or .nii); name the folder that holds them")
    if not predicted_files:
        raise ValueError(f"{predictions}: has no predictions (.nii.gz or .nii); name the folder that holds them")
    missing = [case for case in true_files if case not in predicted_files]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise ValueError(
            f"{true_files[missing[0]]}: has no prediction {missing[0]}.nii.gz or {missing[0]}_pred.nii.gz in "
            f"{predictions}{more}; predict it, or score against a folder without it"
        )
    for case, path in true_files.items():
        if path.samefile(predicted_files[case]):
            raise ValueError(f"{path}: is both label and prediction; name two folders, the predictions' first")
    unused = sorted(set(predicted_files) - set(true_files))
    if unused:
        print(f"not scored, for want of a label: {', '.join(unused[:5])}{' …' * (len(unused) > 5)}", file=sys.stderr)
    return [Pair(case, predicted_files[case], path) for case, path in true_files.items()]


def parsed_names(words: Sequence[str]) -> dict[int, str]:
    """`["1=edema", "2=core"]` -> `{1: "edema", 2: "core"}`, the background, 0, left out."""
    names: dict[int, str] = {}
    for word in words:
        number, separator, name = word.partition("=")
        if not (separator and number.strip().isdecimal() and name.strip()):
            raise ValueError(f"--labels {word}: is not a number with a name; write 1=edema")
        value, name = int(number), name.strip()
        if value in names or name in names.values():
            raise ValueError(f"--labels {word}: its number or name was given before; give each its own")
        names[value] = name
    if names and not any(names):
        raise ValueError("--labels: names only the background, 0; name what is to be scored, e.g. 1=edema")
    return {value: name for value, name in sorted(names.items()) if value != 0}


def dataset_beside(labels: Path) -> Dataset | None:
    """The data set whose dataset.json lies beside the labels' folder, None when there is no such file."""
    root = labels.absolute().parent
    return read_dataset(root) if (root / "dataset.json").is_file() else None


def names_found(pairs: Sequence[Pair]) -> dict[int, str]:
    """`label 1`, … for every value but 0 that any of the files holds."""
    values: set[int] = set()
    for pair in _with_progress(pairs, "looking for labels"):
        for path in (pair.label, pair.prediction):
            values |= {int(value) for value in np.unique(read_label_map(path)[0])} - {0}
        if len(values) > MAX_FOUND_LABELS:
            raise ValueError(
                f"{pair.label}: it and its prediction bring the values to {len(values)}, too many for label maps; "
                "name the right folders, or the labels with --labels"
            )
    if not values:
        raise ValueError(
            f"{pairs[0].label.parent}: every label map and prediction is empty; name the labels (--labels)"
        )
    return {value: f"label {value}" for value in sorted(values)}


def read_label_map(path: Path) -> tuple[NDArray, Grid]:
    """A label map as (X, Y, Z) whole numbers of 0 or more, and its grid; a ValueError when it is not one."""
    volume = nifti.read(path)
    if volume.array.shape[0] != 1:
        raise ValueError(f"{path}: has {volume.array.shape[0]} channels; a label map has one")
    array = volume.array[0]
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or (array != np.rint(array)).any():
            raise ValueError(
                f"{path}: holds values that are not whole numbers; a label map is needed, no probabilities"
            )
        if np.abs(array).max(initial=0) >= 2**31:
            raise ValueError(f"{path}: holds values beyond 32 bits; a label map is needed")
        array = array.astype(np.int32)
    if array.min(initial=0) < 0:
        raise ValueError(f"{path}: holds {int(array.min())}; labels are 0 or more")
    return array, volume.grid


def _by_case(folder: Path, suffix: str, others: tuple[str, ...]) -> dict[str, Path]:
    """The label maps of a folder (or an evaluation's) by case; names that end in one of `others` are something else."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder; name one with label maps in it")
    if (folder / "metrics.json").is_file() and (folder / "predictions").is_dir():
        folder = folder / "predictions"
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        name = nifti.case_name(path)
        if not nifti.is_nifti(path) or name.startswith(".") or name.endswith(others):
            continue
        case = name.removesuffix(suffix)
        if case in found:
            raise ValueError(f"{path}: {found[case].name} is of the same case, {case}; keep one of the two")
        found[case] = path
    return found


def _check_grids(pair: Pair, prediction: Grid, truth: Grid) -> None:
    if prediction.shape != truth.shape:
        raise ValueError(
            f"{pair.prediction}: has shape {prediction.shape} but {pair.label} has {truth.shape}; "
            "resample the prediction to the label's grid"
        )
    corners = np.array([(x, y, z, 1) for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    corners[:, :3] *= np.array(truth.shape) - 1
    shift_mm = float(np.linalg.norm((corners @ (prediction.affine - truth.affine).T)[:, :3], axis=1).max())
    if shift_mm > MAX_CORNER_SHIFT * min(truth.spacing_mm):
        raise ValueError(
            f"{pair.prediction}: its affine lays it up to {shift_mm:.3g} mm from where {pair.label} lies; "
            "write it with the image's own affine or resample it to the label's grid"
        )


def _check_values(path: Path, array: NDArray, known: set[int]) -> None:
    unknown = sorted({int(value) for value in np.unique(array)} - known)
    if unknown:
        held = ", ".join(map(str, unknown[:8])) + " …" * (len(unknown) > 8)
        raise ValueError(
            f"{path}: holds {held} but the labels are {', '.join(map(str, sorted(known)))}; "
            f"name all with --labels {unknown[0]}=NAME … or mend the file"
        )


def _with_progress(pairs: Sequence[Pair], doing: str = "scoring") -> Iterator[Pair]:
    with progress(doing, lines=True) as advance:
        for done, pair in enumerate(pairs):
            advance(done, len(pairs))
            yield pair
        advance(len(pairs), len(pairs))
