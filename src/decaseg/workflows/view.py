"""`decaseg view`: image, prediction and truth in the browser, or one slice of them in the terminal."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from decaseg.data.targets import Target
from decaseg.reporting.material import is_evaluation, numbers, read_scores
from decaseg.reporting.viewer.exhibit import Case, Exhibition, check_grid, label_map, named_values
from decaseg.reporting.viewer.server import serving, until_a_signal
from decaseg.reporting.viewer.tables import make_table
from decaseg.storage.files import read_json
from decaseg.storage.layouts import read_dataset
from decaseg.storage.nifti import case_name, is_nifti, read, read_grid
from decaseg.workflows.score import parsed_names


@dataclass(frozen=True)
class Wishes:
    """What is to be shown beside the image, and of it: label names (`1=edema`), a case to begin with."""

    prediction: Path | None = None
    truth: Path | None = None
    labels: Sequence[str] = ()
    case: str | None = None


def run(what: Path, wishes: Wishes, port: int = 0, browser: bool = True) -> int:
    """Shows an image or an evaluation's folder on 127.0.0.1 until Ctrl-C (130) or SIGTERM (0).

    `port` 0 takes any that is free. ValueError names the file that is missing or cannot be shown.
    """
    exhibition = gather(what, wishes)
    table = make_table(exhibition)
    try:
        with until_a_signal() as wait, serving(table, port) as server:
            count = len(exhibition.cases)
            print(f"{exhibition.title}: {count} case{'s' * (count != 1)} at {server.url}\nCtrl-C ends it", flush=True)
            if browser and not _opened(server.url):
                print("no browser was found here; open the address yourself", flush=True)
            return wait()
    except OSError as error:
        raise ValueError(f"--port {port}: cannot be had ({error.strerror}); leave it out or give another") from None


def show_slice(what: Path, wishes: Wishes, plane: str | None = None, graphics: str = "auto") -> int:
    """Prints the most telling slice of an image, or of an evaluation's first case, to the terminal; returns 0.

    Terminals that draw pictures get the three planes, or the one that is named; others an axial slice in half blocks.
    """
    from decaseg.reporting.terminal import named_plane, print_slice
    from decaseg.reporting.terminal_graphics import chosen_protocol, print_picture

    planes = [named_plane(plane)] if plane else None
    protocol = chosen_protocol(graphics)
    exhibition = gather(what, wishes)
    case = exhibition.cases[exhibition.start]
    image = read(case.image)
    prediction, truth = (None if path is None else label_map(path, image) for path in (case.prediction, case.truth))
    title = case.name if case.mean_dice is None else f"{case.name}  Dice {case.mean_dice:.3f}"
    names = named_values([m for m in (prediction, truth) if m], exhibition.names, case)
    channel = exhibition.channel if exhibition.channel < image.array.shape[0] else 0
    if protocol:
        print_picture(protocol, title, image, prediction, truth, names, channel, planes)
    else:
        print_slice(image, prediction, truth, names, title, plane or "axial", channel)
    return 0


def gather(what: Path, wishes: Wishes) -> Exhibition:
    """The cases to show, worst first, with names of labels and channels; ValueError where there is nothing to show."""
    if what.is_dir():
        exhibition = _evaluation(what, wishes)
    else:
        exhibition = _single(what, wishes)
    names = parsed_names(wishes.labels)
    exhibition = replace(exhibition, names=names) if names else exhibition
    return _starting_with(exhibition, wishes.case)


def _opened(url: str) -> bool:
    """False where there is no screen: webbrowser would start a text browser, which has no WebGL, in this terminal."""
    if sys.platform.startswith("linux") and not any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))):
        return False
    try:
        return webbrowser.open(url)
    except webbrowser.Error:
        return False


def _single(image: Path, wishes: Wishes) -> Exhibition:
    for option, path in (("IMAGE", image), ("--prediction", wishes.prediction), ("--truth", wishes.truth)):
        if path is not None and path.is_dir():
            raise ValueError(f"{option} {path}: is a folder; name a .nii or .nii.gz file")
        if path is not None:  # what cannot be shown is said now, not in the browser
            check_grid(path, read_grid(path)[0], read_grid(image)[0])
    beside = next((found for path in (wishes.truth, image) if path and (found := _data_set(path))), None)
    names: Mapping[int, str] = beside.structures if beside else {}
    case = Case(case_name(image), image, wishes.prediction, wishes.truth)
    return Exhibition(f"{image.resolve().parent.name}/{image.name}", (case,), names, beside.channels if beside else ())


def _data_set(path: Path) -> Any:
    """The data set in whose imagesTr or labelsTr a file lies; None where there is none, or it cannot be read."""
    root = path.absolute().parent.parent
    try:
        return read_dataset(root) if (root / "dataset.json").is_file() else None
    except ValueError:
        return None


def evaluation_in(folder: Path) -> Path | None:
    """The evaluation that is meant: the folder, or `evaluation/` in it; None where neither is one."""
    return next((found for found in (folder, folder / "evaluation") if is_evaluation(found)), None)


def _evaluation(what: Path, wishes: Wishes) -> Exhibition:
    folder = evaluation_in(what)
    if folder is None:
        raise ValueError(f"{what}: has no metrics.json; name an image or the folder that decaseg evaluate wrote")
    if wishes.prediction or wishes.truth:
        raise ValueError(f"{folder}: brings its own prediction and truth; leave out --prediction and --truth")
    scores = read_scores(folder)
    files = _files(folder / "predictions")
    cases = [
        Case(name, files[f"{name}_img"], files.get(f"{name}_pred"), files.get(f"{name}_msk"),
             {structure: row["dice"] for structure, row in rows.items() if "dice" in row})
        for name, rows in scores.cases.items() if f"{name}_img" in files
    ]  # fmt: skip
    if not cases:
        raise ValueError(f"{folder}: has no images in predictions/; decaseg evaluate writes them, score does not")
    cases.sort(key=lambda case: (case.mean_dice is not None, case.mean_dice or 0.0, case.name))
    shown = _shown(folder, scores.other)
    title = folder.resolve()
    return Exhibition(f"{title.parent.name}/{title.name}", tuple(cases), **shown)


def _files(folder: Path) -> dict[str, Path]:
    """By listing, not by joining names, so that no case's name leads out of the folder; nor may a link do that."""
    if not folder.is_dir():
        return {}
    found = {case_name(path): path for path in sorted(folder.iterdir()) if is_nifti(path) and path.is_file()}
    home = folder.parent.resolve()
    for path in found.values():
        if not path.resolve().is_relative_to(home):
            raise ValueError(f"{path}: is a link that leads out of {folder.parent}; copy the file there instead")
    return found


def _shown(folder: Path, document: Mapping[str, Any]) -> dict[str, Any]:
    """Names of labels and channels, and the channel to begin with: as metrics.json says, else as its RUN's plan."""
    noted = document.get("shown")
    if not isinstance(noted, Mapping):
        noted = _of_plan(folder)
    labels, channels, channel = noted.get("labels"), noted.get("channels"), noted.get("channel")
    names = {int(k): str(v) for k, v in labels.items() if str(k).isdecimal()} if isinstance(labels, Mapping) else {}
    listed = tuple(map(str, channels)) if isinstance(channels, list) else ()
    return {"names": names, "channels": listed, "channel": int(numbers({"it": channel}).get("it", 0))}


def _of_plan(folder: Path) -> dict[str, Any]:
    """What an evaluation of before says about its labels: nothing itself, but it names its RUN."""
    try:
        run = read_json(folder / "evaluation.json")["run"]
        plan = read_json(folder / run / "plan.json")
        target, how = Target.from_json(plan["target"]), plan["preprocessing"]
        return {"labels": target.painted_names(), "channel": how["channel_indices"][0]}
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return {}


def _starting_with(exhibition: Exhibition, name: str | None) -> Exhibition:
    if name is None:
        return exhibition
    places = [i for i, case in enumerate(exhibition.cases) if case.name == name]
    if not places:
        known = ", ".join(case.name for case in exhibition.cases[:8])
        raise ValueError(f"--case {name}: is not here; there are {known}{' …' * (len(exhibition.cases) > 8)}")
    return replace(exhibition, start=places[0])


__all__: Sequence[str] = ("Wishes", "evaluation_in", "gather", "run")
