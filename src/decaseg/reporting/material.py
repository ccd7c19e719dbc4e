"""Gathers what a report can show from a RUN, an evaluation's folder and a BUNDLE; what is missing stays out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeGuard

from decaseg.metrics.calibration import Reliability
from decaseg.storage.files import read_json

Row = Mapping[str, float]  # metric -> value
RUN_DOCUMENTS = ("plan", "recipe", "splits", "provenance", "postprocessing")
RUN_FILES = ("plan.json", "recipe.json", "log.jsonl")
TURNING = ("_3d.webp", "_3d.gif")  # what a case's turning view may be called, the smaller one first


@dataclass(frozen=True)
class Point:
    """One logged moment: how many epochs and steps were done, after how many seconds, and its values by name."""

    epoch: float
    step: float
    elapsed_s: float
    values: Row


@dataclass(frozen=True)
class Log:
    """What log.jsonl says. `torn` counts lines that could not be read, as a killed process leaves them."""

    epochs: tuple[Point, ...] = ()
    validations: tuple[Point, ...] = ()
    ending: Mapping[str, Any] = field(default_factory=dict)
    torn: int = 0


@dataclass(frozen=True)
class Scores:
    """metrics.json, checked: structure -> metric -> statistic, and case -> structure -> metric -> value.

    `turning` are views of a case in 3D; `calibration` is empty where the evaluation counted none.
    """

    folder: Path
    mean_dice: float | None
    structures: Mapping[str, Mapping[str, Mapping[str, Any]]]
    cases: Mapping[str, Mapping[str, Row]]
    other: Mapping[str, Any]
    pictures: Mapping[str, Path] = field(default_factory=dict)
    animations: Mapping[str, Path] = field(default_factory=dict)
    turning: Mapping[str, Path] = field(default_factory=dict)
    calibration: Mapping[str, Mapping[str, Reliability]] = field(default_factory=dict)


@dataclass(frozen=True)
class Beside:
    """What belongs to a folder's report and lies elsewhere: a RUN, a BUNDLE, a benchmark, another evaluation."""

    run: Path | None = None
    bundle: Path | None = None
    benchmark: Path | None = None
    compare: Path | None = None


@dataclass(frozen=True)
class Material:
    """All a report is made of; every part may be missing."""

    name: str
    documents: Mapping[str, Any] = field(default_factory=dict)  # by RUN_DOCUMENTS
    log: Log | None = None
    scores: Scores | None = None
    bundle: Mapping[str, Any] | None = None
    benchmark: Mapping[str, Any] | None = None
    other: Scores | None = None  # what the scores are compared with
    other_name: str = ""


def gather(folder: Path, beside: Beside = Beside()) -> Material:
    """Reads `folder`: a RUN, an evaluation's folder, or one that holds both as `run/` and `evaluation/`.

    An evaluation names its RUN in evaluation.json ({"run": path}); a name that leads nowhere is passed over, what
    `beside` names is not. Raises ValueError when there is nothing to report on.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder; name a RUN or an evaluation's folder")
    _check_given(beside)
    evaluation = folder if is_evaluation(folder) else folder / "evaluation"
    scores = read_scores(evaluation) if is_evaluation(evaluation) else None
    near = (folder, folder.parent) if folder.name == "evaluation" else (folder,)
    run = beside.run or next((r for r in (folder, _named_run(evaluation), folder / "run") if r and is_run(r)), None)
    bundle = beside.bundle or next((b for b in (folder / "bundle", _named_run(evaluation)) if b and is_bundle(b)), None)
    benchmark = beside.benchmark or next((b for n in near if is_benchmark(b := n / "benchmark")), None)
    if scores is None and run is None:
        raise ValueError(
            f"{folder}: is neither a RUN (plan.json, recipe.json, log.jsonl) nor an evaluation (metrics.json); "
            "name the folder that train or evaluate wrote"
        )
    if benchmark is None and bundle is not None and is_benchmark(bundle):
        benchmark = bundle
    found = Material(
        title_of(folder),
        scores=scores,
        bundle=_object(bundle / "bundle.json") if bundle else None,
        benchmark=_object(benchmark / "benchmark.json") if benchmark else None,
    )
    if beside.compare is not None:
        found = replace(found, other=_other(folder, scores, beside.compare), other_name=title_of(beside.compare))
    if run is None:
        return found
    documents = {key: _object(run / f"{key}.json") for key in RUN_DOCUMENTS}
    log = read_log(run / "log.jsonl") if (run / "log.jsonl").is_file() else None
    return replace(found, documents={k: v for k, v in documents.items() if v}, log=log)


def _check_given(beside: Beside) -> None:
    """What was named must be there: nothing is left out of a page without a word."""
    if beside.run and not is_run(beside.run):
        raise ValueError(f"{beside.run}: is no RUN; it has none of {', '.join(RUN_FILES)}")
    if beside.bundle and not is_bundle(beside.bundle):
        raise ValueError(f"{beside.bundle}: is no BUNDLE; it has no bundle.json")
    if beside.benchmark and not is_benchmark(beside.benchmark):
        raise ValueError(f"{beside.benchmark}: has no benchmark.json; make one with decaseg benchmark --out")


def _other(folder: Path, scores: Scores | None, other: Path) -> Scores:
    """The evaluation to compare with: `other`, or `evaluation/` in it."""
    found = next((f for f in (other, other / "evaluation") if is_evaluation(f)), None)
    if found is None:
        raise ValueError(f"--compare {other}: is no evaluation (it has no metrics.json); evaluate or score it first")
    if scores is None:
        raise ValueError(f"{folder}: has no metrics.json to compare with {other}; evaluate it first")
    if found.resolve() == scores.folder.resolve():
        raise ValueError(f"--compare {other}: is the folder it would be compared with; name another one")
    return read_scores(found)


def title_of(folder: Path) -> str:
    """The folder's name, with its parent's where the name alone says nothing."""
    folder = folder.resolve()
    plain = folder.name.lower() in ("run", "evaluation", "eval", "out", "results")
    return f"{folder.parent.name}/{folder.name}" if plain and folder.parent.name else folder.name or "decaseg"


def is_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in RUN_FILES) and not is_bundle(folder)


def is_evaluation(folder: Path) -> bool:
    return (folder / "metrics.json").is_file()


def is_bundle(folder: Path) -> bool:
    return (folder / "bundle.json").is_file()


def is_benchmark(folder: Path) -> bool:
    return (folder / "benchmark.json").is_file()


def _named_run(evaluation: Path) -> Path | None:
    path = evaluation / "evaluation.json"
    named = _object(path).get("run") if path.is_file() else None
    return evaluation / named if isinstance(named, str) and named else None


def _object(path: Path) -> dict[str, Any]:
    """A JSON object, empty when there is no such file."""
    if not path.is_file():
        return {}
    document = read_json(path)
    if not isinstance(document, dict):
        raise ValueError(f"{path}: must hold a JSON object; write it anew")
    return document


def read_scores(folder: Path) -> Scores:
    """An evaluation's metrics.json and the pictures beside it; values that are no finite numbers are left out."""
    path = folder / "metrics.json"
    document = _object(path)
    structures, cases = document.get("structures"), document.get("cases")
    if not isinstance(structures, dict) or not isinstance(cases, dict):
        raise ValueError(f"{path}: has no structures and cases; make it with decaseg evaluate or score")
    checked = {
        str(case): {str(name): numbers(row) for name, row in rows.items() if isinstance(row, dict)}
        for case, rows in cases.items()
        if isinstance(rows, dict)
    }
    statistics = {
        str(name): {str(metric): s for metric, s in metrics.items() if isinstance(s, dict)}
        for name, metrics in structures.items()
        if isinstance(metrics, dict)
    }
    other = {key: value for key, value in document.items() if key not in ("structures", "cases", "mean_dice")}
    return Scores(
        folder,
        numbers({"it": document.get("mean_dice")}).get("it"),
        statistics,
        checked,
        other,
        _pictures(folder / "overlays", ".png", checked),
        _pictures(folder / "overlays", ".gif", checked),
        _turning(folder / "overlays", checked),
        _calibration(folder, other, checked),
    )


def _pictures(folder: Path, suffix: str, cases: Mapping[str, Any]) -> dict[str, Path]:
    """By listing, not by joining names, so that no case name leads out of the folder."""
    if not folder.is_dir():
        return {}
    return {p.name.removesuffix(suffix): p for p in sorted(folder.iterdir())
            if p.name.endswith(suffix) and p.name.removesuffix(suffix) in cases}  # fmt: skip


def _turning(folder: Path, cases: Mapping[str, Any]) -> dict[str, Path]:
    """A case named `a_3d` keeps its own a_3d.gif: that one is not taken for the turning view of `a`."""
    found: dict[str, Path] = {}
    for suffix in TURNING:
        for case, path in _pictures(folder, suffix, cases).items():
            if path.name.removesuffix(path.suffix) not in cases:
                found.setdefault(case, path)
    return found


def _calibration(folder: Path, other: Mapping[str, Any], cases: Mapping[str, Any]) -> dict[str, dict[str, Reliability]]:
    """calibration.json, where metrics.json speaks of it: one that an earlier evaluation left is of other scores."""
    path = folder / "calibration.json"
    if not isinstance(other.get("calibration"), dict) or not path.is_file():
        return {}
    found = _object(path).get("cases")
    if not isinstance(found, dict) or not all(isinstance(rows, dict) for rows in found.values()):
        raise ValueError(f"{path}: has no cases; evaluate again or remove it")
    try:
        return {
            case: {str(name): Reliability.from_json(rows) for name, rows in structures.items()}
            for case, structures in found.items()
            if case in cases
        }
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """The entries that are finite numbers, as floats."""
    return {str(key): float(value) for key, value in row.items() if is_number(value)}


def is_number(value: Any) -> TypeGuard[float]:
    """A finite number that fits a float; true and false are none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < 2**1000
    return isinstance(value, float) and math.isfinite(value)


def read_log(path: Path) -> Log:
    """The epochs and validations of log.jsonl; unknown events are skipped, unreadable lines counted.

    After a resumed training, later lines for the same step replace the earlier ones.
    """
    epochs: dict[float, Point] = {}
    validations: dict[float, Point] = {}
    ending: Mapping[str, Any] = {}
    torn = 0
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        if not line.strip():
            continue
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            torn += 1
            continue
        if not isinstance(event, dict):
            torn += 1
            continue
        kind, values = event.get("event"), numbers(event)
        if kind == "epoch":
            point = _point(values, values)
            epochs[point.step or point.epoch or len(epochs) + 1] = point
        elif kind == "validation":
            dice = event.get("dice")
            scores = numbers(dice) if isinstance(dice, dict) else {}
            if "mean_dice" in values and len(scores) != 1:
                scores = {"mean": values["mean_dice"], **scores}
            point = _point(values, scores)
            validations[point.step or point.epoch or len(validations) + 1] = point
        elif kind in ("stop", "end"):
            ending = {key: value for key, value in event.items() if key != "event"}
    return Log(
        tuple(epochs[k] for k in sorted(epochs)), tuple(validations[k] for k in sorted(validations)), ending, torn
    )


def _point(values: Row, shown: Row) -> Point:
    known = ("epoch", "step", "elapsed_s")
    rest = {key: value for key, value in shown.items() if key not in known}
    return Point(values.get("epoch", 0), values.get("step", 0), values.get("elapsed_s", 0), rest)
