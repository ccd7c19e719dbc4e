"""In notebooks: volumes, cases, predictions and evaluations show themselves, small or in the 3D viewer."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import singledispatch
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from decaseg.inference.predictor import Prediction
from decaseg.reporting.material import Scores, is_evaluation, read_scores
from decaseg.reporting.notebook import bars, picture_block, said_of, score_line
from decaseg.reporting.viewer.case_page import MOST_VOXELS, case_page
from decaseg.reporting.viewer.exhibit import Case, Exhibition, label_map, lay_out, named_values
from decaseg.showing import ShowsItself
from decaseg.storage import nifti
from decaseg.storage.dataset import CaseFiles
from decaseg.storage.images import meant, read_image
from decaseg.volume import Volume

MOST_LABELS = 32  # more different values than that are an image
WORST = 6


@dataclass(frozen=True, eq=False)
class Sight:
    """Volumes that belong together, read and named: what both forms of showing need."""

    title: str
    image: Volume
    prediction: Volume | None = None
    truth: Volume | None = None
    names: Mapping[int, str] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    channel: int = 0
    dice: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluatedCase(ShowsItself):
    """A case of an evaluation: its scores, and its volumes, which are read when they are asked for."""

    files: Case
    shown: Exhibition = field(repr=False)

    @property
    def name(self) -> str:
        return self.files.name

    @property
    def dice(self) -> Mapping[str, float]:
        """Structure -> Dice."""
        return self.files.dice

    @property
    def image(self) -> Volume:
        return nifti.read(self.files.image)

    @property
    def prediction(self) -> Volume | None:
        return None if self.files.prediction is None else nifti.read(self.files.prediction)

    @property
    def truth(self) -> Volume | None:
        return None if self.files.truth is None else nifti.read(self.files.truth)


@dataclass(frozen=True)
class Evaluation(ShowsItself):
    """What `decaseg evaluate` or `score` wrote: `evaluation["CASE"]` is a case, `cases` their names, worst first."""

    folder: Path
    scores: Scores = field(repr=False)
    shown: Exhibition | None = field(repr=False)

    @property
    def cases(self) -> tuple[str, ...]:
        return tuple(sorted(self.scores.cases, key=lambda case: (_mean_dice(self.scores, case), case)))

    @property
    def mean_dice(self) -> float | None:
        return self.scores.mean_dice

    def __getitem__(self, name: str) -> EvaluatedCase:
        """ValueError for a case that is not there, or whose image is not."""
        found = next((case for case in self.shown.cases if case.name == name), None) if self.shown else None
        if found is None or self.shown is None:
            raise ValueError(f"{self.folder}: has no image of a case {name!r}; see its .cases")
        return EvaluatedCase(found, self.shown)


def read_evaluation(folder: Path | str) -> Evaluation:
    """Opens the folder that `decaseg evaluate` or `score` wrote, or one that holds it as `evaluation/`."""
    from decaseg.workflows.view import Wishes, gather

    path = Path(folder)
    path = path / "evaluation" if not is_evaluation(path) and is_evaluation(path / "evaluation") else path
    if not is_evaluation(path):
        raise ValueError(f"{path}: has no metrics.json; name the folder that decaseg evaluate or score wrote")
    try:
        shown = gather(path, Wishes())
    except ValueError:  # score writes no images
        shown = None
    return Evaluation(path, read_scores(path), shown)


@singledispatch
def sight(thing: Any) -> Sight:
    """What is to be shown of a thing; ValueError says why it cannot be."""
    raise ValueError(f"{type(thing).__name__}: cannot be shown")


@sight.register
def _(volume: Volume) -> Sight:
    if not is_label_map(volume):
        return Sight("volume", volume)
    blank = volume.with_array(np.zeros(volume.shape, np.uint8))
    labels = volume.with_array(volume.array[0].astype(np.uint8))
    return Sight("label map", blank, prediction=labels, names=named_values([labels], {}, Case("label map", Path())))


@sight.register
def _(found: Prediction) -> Sight:
    labels = found.labels.with_array(found.labels.array[0].astype(np.uint8))
    image = found.image or labels.with_array(np.zeros(labels.shape, np.uint8))
    names = found.names or named_values([labels], {}, Case("prediction", Path()))
    return Sight("prediction", image, prediction=labels, names=names)


@sight.register
def _(files: CaseFiles) -> Sight:
    image = read_image(files)
    truth = None if files.label is None else label_map(files.label, image)
    if truth is not None and files.values:
        truth = truth.with_array(meant(truth.array, files.values))
    names = named_values([truth] if truth else [], files.structures, Case(files.case, files.image, None, files.label))
    return Sight(files.case, image, truth=truth, names=names, channels=files.channels)


@sight.register
def _(case: EvaluatedCase) -> Sight:
    image = nifti.read(case.files.image)
    paths = (case.files.prediction, case.files.truth)
    prediction, truth = (None if path is None else label_map(path, image) for path in paths)
    names = named_values([m for m in (prediction, truth) if m], case.shown.names, case.files)
    channel = case.shown.channel if case.shown.channel < image.array.shape[0] else 0
    return Sight(case.name, image, prediction, truth, names, tuple(case.shown.channels), channel, case.dice)


def html(thing: Any) -> str | None:
    """What Jupyter shows for a thing. A file that cannot be read is a sentence there, not a traceback."""
    try:
        if isinstance(thing, Evaluation):
            return _evaluation_html(thing)
        return _sight_html(sight(thing))
    except ValueError as error:
        return f"<div>{escape(str(error))}</div>"


def viewer(thing: Any, height: int = 560, case: str | None = None) -> Any:
    """The self-contained page of a case in a frame; an Evaluation shows `case`, by default its worst."""
    from IPython.display import HTML

    warnings.filterwarnings("ignore", "Consider using IPython.display.IFrame", UserWarning)  # that one needs an address
    if isinstance(thing, Evaluation):
        name = case or (thing.shown.cases[0].name if thing.shown else "")
        thing = thing[name]
    elif case is not None:
        raise ValueError(f"case={case!r}: only an evaluation has several cases; leave it out")
    seen = sight(thing)
    maps = {key: volume for key, volume in (("prediction", seen.prediction), ("truth", seen.truth)) if volume}
    shown = Exhibition("", (Case(seen.title, Path(), dice=seen.dice),), seen.names, seen.channels, seen.channel)
    page = case_page(lay_out(shown.cases[0], seen.image, maps, shown, MOST_VOXELS), seen.title)
    # A world of its own: its script can reach neither the notebook nor the network.
    frame = f'<iframe sandbox="allow-scripts" title="{escape(seen.title)} in 3D" srcdoc="{escape(page)}"'
    return HTML(f'{frame} style="width:100%;height:{int(height)}px;border:0;border-radius:8px"></iframe>')


def is_label_map(volume: Volume) -> bool:
    """Whole numbers from 0 to 255, few of them different, in one channel."""
    array = volume.array
    if array.shape[0] != 1 or array.dtype.kind not in "iub" or not array.size:
        return False
    if array.min() < 0 or array.max() > 255:
        return False
    return int(np.count_nonzero(np.bincount(array.ravel().astype(np.uint8), minlength=256))) <= MOST_LABELS


def _sight_html(seen: Sight) -> str:
    lines = [said_of(seen.image, seen.channels, None if seen.title == "label map" else seen.channel)]
    if seen.dice:
        lines.insert(0, score_line(seen.dice))
    return picture_block(seen.title, seen.image, seen.prediction, seen.truth, seen.names, seen.channel, lines)


def _evaluation_html(evaluation: Evaluation) -> str:
    scores = evaluation.scores
    parts = [bars(scores, [(case, _mean_dice(scores, case)) for case in evaluation.cases[:WORST]])]
    if evaluation.shown is not None:
        parts.append(_sight_html(sight(evaluation[evaluation.shown.cases[0].name])))
    return "".join(parts)


def _mean_dice(scores: Scores, case: str) -> float:
    dice = [row["dice"] for row in scores.cases[case].values() if "dice" in row]
    return sum(dice) / len(dice) if dice else 0.0
