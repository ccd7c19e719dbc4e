"""`decaseg evaluate`: predicts whole cases, scores them honestly, and leaves everything to look at."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from decaseg.data.targets import Target
from decaseg.inference.predictor import Predictor
from decaseg.inference.restore import Wanted
from decaseg.metrics.case import CaseScores, score_case
from decaseg.metrics.summary import summarise, write_csv
from decaseg.reporting.amounts import duration
from decaseg.reporting.case_pictures import check_drawing, drop_pictures
from decaseg.reporting.look import Look
from decaseg.reporting.progress import progress
from decaseg.reporting.score_table import print_scores
from decaseg.storage import nifti
from decaseg.storage.dataset import CaseFiles, Dataset
from decaseg.storage.files import read_json, replacing, sha256_of, write_json
from decaseg.storage.images import read_image, read_label
from decaseg.storage.layouts import read_dataset
from decaseg.storage.output import only_writer
from decaseg.volume import Volume
from decaseg.workflows.calibrating import Rows, Tally, calibration_document, calibration_note
from decaseg.workflows.draw import draw_rest, rest_command
from decaseg.workflows.matching import as_known
from decaseg.workflows.opening import Model, open_model
from decaseg.workflows.scoring import Scoring, Wishes, check_groups, make_scoring, with_groups

CASES = ("val", "all")
DRAWN = Look()


def run(
    model: Path,
    data: Path,
    out: Path,
    cases: str = "val",
    engine: str | None = None,
    tta: bool = False,
    step: float = 0.5,
    device: str = "auto",
    threads: int | None = None,
    look: Look | None = DRAWN,
    as_json: bool = False,
    wishes: Wishes | None = None,
    postprocessing: bool = True,
    layout: str | None = None,
) -> int:
    """Scores MODEL on full volumes in the images' own grids; writes the evaluation folder and returns 0.

    `cases` is `val` (the run's own validation cases, which it did not train on) or `all`; without `look` no pictures.
    Scores are written and printed before the first picture is drawn: what stops the drawing loses none.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out}: is a file, not a folder to write to; give --out another name")
    opened = open_model(
        model, engine, tta, step, device, threads=threads, postprocessing=postprocessing, input_check=False
    )  # scores tell more than a check of the images
    for warning in opened.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    dataset = as_known(read_dataset(data, layout), opened.plan)
    chosen, trained = choose_cases(opened, dataset, cases)
    wishes = wishes or Wishes()
    scoring = make_scoring(wishes, opened.plan.target, dataset.root.resolve().name)
    check_groups(wishes, [files.case for files in chosen])
    if look is not None:
        check_drawing(look)
    scores: dict[str, CaseScores] = {}
    reliability: dict[str, Rows] = {}
    with only_writer(out, "predictions", "overlays"):
        with progress("evaluating", lines=True) as advance:
            for number, files in enumerate(chosen, 1):
                scores[files.case], reliability[files.case] = _evaluate_case(
                    files, dataset, opened.predictor, scoring, out
                )
                advance(number, len(chosen))
        document = with_groups(summarise(scores), wishes).to_json() | _origin(opened, model, scoring, cases, trained)
        document |= {"shown": _shown(opened.predictor, dataset), "calibration": calibration_note(reliability)}
        document["predictions_sha256"] = {case: sha256_of(_prediction(out, case)) for case in scores}
        _write(out, document, scores, reliability, opened)
        if as_json:
            print(json.dumps(document, ensure_ascii=False, allow_nan=False), flush=True)
        else:
            _print(document, out, look)
        if look is not None:
            _draw(out, look, as_json)
    return 0


def _write(
    out: Path, document: dict[str, Any], scores: dict[str, CaseScores], reliability: dict[str, Rows], opened: Model
) -> None:
    """The files of scores, metrics.json the last; pictures that are of other predictions go before it comes."""
    write_json(out / "calibration.json", calibration_document(reliability))
    write_csv(out / "metrics.csv", scores)
    if opened.run is not None:
        write_json(out / "evaluation.json", {"run": os.path.relpath(opened.run.root, out)})
    for case in scores:
        drop_pictures(out / "overlays" / case)
    write_json(out / "metrics.json", document)


def _print(document: dict[str, Any], out: Path, look: Look | None) -> None:
    print_scores(document)
    if trained := document["trained_on"]:
        print(f"{len(trained)} of {len(document['cases'])} cases were trained on: for those this is memory, not skill")
    end = f"written: {out} (next: decaseg report {out})" if look is None else f"scores are written: {out}"
    print(f"{document['selection']}\n{end}", flush=True)


def _draw(out: Path, look: Look, as_json: bool) -> None:
    """The pictures, from the files that are written: no more than one case is in memory."""
    begun, rest = time.perf_counter(), rest_command(out, look)
    print(f"drawing pictures; a stop loses no scores, {rest} draws the rest", file=sys.stderr, flush=True)
    draw_rest(out, look)
    if not as_json:
        print(f"pictures took {duration(time.perf_counter() - begun)} (--no-pictures leaves them out)")
        print(f"written: {out} (next: decaseg report {out})")


def _origin(opened: Model, model: Path, scoring: Scoring, cases: str, trained: list[str]) -> dict[str, Any]:
    """What metrics.json says besides scores: which model, how it was scored, and what its cases had chosen."""
    post = opened.predictor.postprocessing
    return {
        "scoring": scoring.to_json(),
        "model": str(model),
        "engine": opened.predictor.engine.name,
        "precision": opened.predictor.engine.precision,
        "target": opened.plan.target.kind,
        "cases_scored": cases,
        "trained_on": trained,
        "selection": opened.selection(),
        "postprocessing": None if post is None else post.to_json(),
    }


def _shown(predictor: Predictor, dataset: Dataset) -> dict[str, Any]:
    """What a viewer needs to name what is in predictions/: label values, channels, and the channel to begin with."""
    names = {str(value): name for value, name in predictor.target.painted_names().items()}
    first = _first_channel(predictor, len(dataset.channels))
    return {"labels": names, "channels": list(dataset.channels), "channel": first}


def _first_channel(predictor: Predictor, channels: int) -> int:
    """The first channel that the model uses, among all of its files' channels or among those that it uses alone."""
    how = predictor.preprocessing
    return how.channel_indices[0] if channels == how.file_channels else 0


def choose_cases(opened: Model, dataset: Dataset, cases: str) -> tuple[list[CaseFiles], list[str]]:
    """The cases to score and the names of those among them that the model was trained on."""
    if cases not in CASES:
        raise ValueError(f"--cases {cases}: choose val or all")
    train, val = known_cases(opened, dataset)
    if cases == "all":
        chosen = list(dataset.training)
    else:
        chosen = [files for files in dataset.training if files.case in val]
        if not chosen:
            raise ValueError(f"{dataset.root}: holds none of the validation cases of {opened.path}; use --cases all")
    return chosen, [files.case for files in chosen if files.case in train]


def known_cases(opened: Model, dataset: Dataset) -> tuple[set[str], set[str]]:
    """Names of cases of `dataset` that the model trained on and validated on; bundles keep them as hashes."""
    if opened.run is not None:
        document = read_json(opened.run.splits)
        return set(document["train"]), set(document["val"])
    hashed: Any = (opened.bundle or {}).get("split_sha256", {"train": [], "val": []})
    by_hash = {hash_of_case(files.case): files.case for files in dataset.training}
    return {by_hash[h] for h in hashed["train"] if h in by_hash}, {by_hash[h] for h in hashed["val"] if h in by_hash}


def hash_of_case(case: str) -> str:
    """A case's name as bundles keep it: handing a model on must not hand on patients' ids."""
    return hashlib.sha256(case.encode()).hexdigest()[:16]


def _evaluate_case(
    files: CaseFiles, dataset: Dataset, predictor: Predictor, scoring: Scoring, out: Path
) -> tuple[CaseScores, Rows]:
    """Predicts, scores, counts how right probabilities were; writes prediction, truth and image of one case."""
    image, truth = read_pair(files, dataset.known_values)
    try:
        prepared = predictor.prepare(image)
        tally = Tally(truth, prepared.undo, predictor.target)
        labels = predictor.predict(prepared, Wanted(watch=tally.see)).labels
    except ValueError as error:
        raise ValueError(f"{files.image}: {error}") from None
    target = predictor.target
    scores = score_labels(labels, truth, target, scoring, dataset.ignore)
    painted = image.with_array(target.as_painted(truth.array[0]))
    folder = out / "predictions"
    nifti.write(_prediction(out, files.case), labels)
    nifti.write(folder / f"{files.case}_msk.nii.gz", painted)
    _copy_image(files, image, folder / f"{files.case}_img.nii.gz")
    return scores, tally.rows()


def _prediction(out: Path, case: str) -> Path:
    return out / "predictions" / f"{case}_pred.nii.gz"


def read_pair(files: CaseFiles, labels: Collection[int]) -> tuple[Volume, Volume]:
    """Image and true label map (integers among `labels`); ValueError names the file that does not fit."""
    if files.label is None:
        raise ValueError(f"{files.image}: has no label to be scored against")
    image, truth = read_image(files), read_label(files)
    if truth.array.shape != (1, *image.shape):
        raise ValueError(f"{files.label}: shape {truth.shape} is not its image's {image.shape}; redo the label")
    whole = np.rint(truth.array)
    if not np.array_equal(whole, truth.array) or whole.min() < 0 or whole.max() > 255:
        raise ValueError(f"{files.label}: holds values that are no labels; decaseg check says which")
    if unnamed := sorted(set(np.unique(whole).astype(int).tolist()) - {0, *labels}):
        raise ValueError(
            f"{files.label}: holds the value {unnamed[0]}, which the data set does not name; name it or redo the label"
        )
    return image, truth.with_array(whole.astype(np.uint8))


def score_labels(
    labels: Volume, truth: Volume, target: Target, scoring: Scoring | None = None, ignored: int | None = None
) -> CaseScores:
    """The scores of a predicted label map against the data set's own labels."""
    sets = target.label_sets, labels.spacing_mm, target.predicted_sets
    more: dict[str, Any] = {"ignored": ignored}
    if scoring is not None:
        more |= {"tolerances_mm": scoring.tolerances_mm, "lesions": scoring.lesions}
    return score_case(labels.array[0], truth.array[0], *sets, **more)


def _copy_image(files: CaseFiles, image: Volume, path: Path) -> None:
    """The image as the model has it: a .nii.gz byte for byte, a .nii compressed, channels picked or put together."""
    source = files.image
    if not files.more and not files.take and source.name.endswith(".nii.gz"):
        with replacing(path) as temporary:
            shutil.copyfile(source, temporary)
    else:
        nifti.write(path, image)


__all__: Sequence[str] = ("choose_cases", "hash_of_case", "known_cases", "read_pair", "run", "score_labels")
