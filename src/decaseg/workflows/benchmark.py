"""`decaseg benchmark`: several models side by side on this machine, in turns, so that what disturbs one disturbs all.

Nothing heavy is imported here: each model runs in a process of its own (`contestant`), which waits for its turn.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decaseg.benchmarking.conclusions import conclusions
from decaseg.benchmarking.machine import instructions, record
from decaseg.benchmarking.process import Child
from decaseg.benchmarking.results import Timed, result_of
from decaseg.reporting.benchmark_table import print_benchmark
from decaseg.reporting.progress import progress
from decaseg.storage.bundle import MODEL_FILES
from decaseg.storage.dataset import CaseFiles, Dataset
from decaseg.storage.files import write_json
from decaseg.storage.layouts import read_dataset

CHILD = "decaseg.workflows.contestant"
LAYER_ROUNDS = 5
BUSY_LOAD = 0.3  # processes that want to run, a core


@dataclass(frozen=True)
class Wishes:
    """What was asked for on the command line; the default is the default of each option.

    With `data`, its validation cases (at most `max_cases`) are predicted and scored; with `images`, those are
    predicted; else a generated one of the plan's median size.
    """

    data: Path | None = None
    images: tuple[Path, ...] = ()
    per_layer: bool = False
    rounds: int = 7
    max_cases: int = 20
    threads: int | None = None
    device: str = "auto"
    layout: str | None = None


@dataclass(frozen=True)
class Entrant:
    """A MODEL as it was named: `RUN@bf16` is `path` in the precision after the @."""

    name: str
    path: str
    precision: str


@dataclass(frozen=True)
class Cases:
    """What is predicted in turn, as the children are told; `words` say it to people, `scored` whether with labels."""

    jobs: tuple[Mapping[str, Any], ...]
    words: str
    scored: bool = False


def run(models: Sequence[str], wishes: Wishes, out: Path | None = None, as_json: bool = False) -> int:
    """Prints what was measured, and with `out` writes it to benchmark.json and, with Dice, draws it; returns 0.

    A ValueError names the model or file that cannot be used.
    """
    if wishes.data is not None and wishes.images:
        raise ValueError("--data and --image: give one of them")
    if out is not None and out.exists() and not out.is_dir():
        raise ValueError(f"--out {out}: is a file, not a folder to write to; give another name")
    if out is not None and wishes.data is not None:
        _need_matplotlib()
    machine = record()
    _say_load(machine["machine"])
    entrants = find_entrants(models)
    with _children(entrants) as children:
        timed = _open(entrants, children, wishes)
        cases = _cases(children, timed, wishes)
        _warm_up(children, cases, wishes)
        _take_turns(children, timed, cases, wishes.rounds)
        if wishes.per_layer:
            _count_layers(children, timed)
    results = [result_of(one, timed[0]) for one in timed]
    document = machine | {
        "settings": {
            "rounds": len(timed[0].cases_s),
            "threads": wishes.threads,
            "device": wishes.device,
            "case": cases.words,
            "warm_up": "3 windows and a whole case, not counted",
        },
        "models": [result.to_json() for result in results],
        "conclusions": conclusions(results, instructions()),
    }
    if out is not None:
        write_json(out / "benchmark.json", document)
        if cases.scored:
            from decaseg.reporting.dice_against_time import draw_dice_against_time

            draw_dice_against_time(document, out)
    if as_json:
        print(json.dumps(document, ensure_ascii=False, allow_nan=False))
    else:
        print_benchmark(document)
        if out is not None:
            print(f"written: {out}")
    return 0


def find_entrants(models: Sequence[str]) -> list[Entrant]:
    """The models with names that tell them apart, as short as they can be."""
    found = []
    for word in models:
        path, at, precision = word.rpartition("@")
        if not at or not precision.isalnum() or Path(word).exists():
            path, precision = word, "auto"
        found.append((Path(path), path, precision))
    names = [_name(path, 1, precision) for path, _, precision in found]
    for parts in range(2, 5):  # folders of the path, until no two different models have one name
        twice = {name for name in names if len({str(f[0]) for f, n in zip(found, names, strict=True) if n == name}) > 1}
        names = [
            _name(path, parts, precision) if name in twice else name
            for name, (path, _, precision) in zip(names, found, strict=True)
        ]
    entrants = []
    for place, (name, (_, path, precision)) in enumerate(zip(names, found, strict=True)):
        before = names[:place].count(name)  # the same model twice shows how much of a difference is chance
        entrants.append(Entrant(f"{name} ({before + 1})" if before else name, path, precision))
    return entrants


def _name(path: Path, parts: int, precision: str) -> str:
    folder = path.resolve()
    folder = folder.parent if folder.name in MODEL_FILES.values() else folder
    return "/".join(folder.parts[-parts:]) + ("" if precision == "auto" else f"@{precision}")


@contextmanager
def _children(entrants: Sequence[Entrant]) -> Iterator[list[Child]]:
    """A process a model; whatever happens, none is left behind."""
    children: list[Child] = []
    try:
        children += [Child(entrant.name, CHILD) for entrant in entrants]
        yield children
    except BaseException:
        for child in children:
            child.close(at_once=True)
        raise
    for child in children:
        child.close()


def _open(entrants: Sequence[Entrant], children: Sequence[Child], wishes: Wishes) -> list[Timed]:
    timed = []
    with progress("opening models", lines=True) as advance:
        for done, (entrant, child) in enumerate(zip(entrants, children, strict=True)):
            advance(done, len(entrants))
            facts = child.ask(
                "open", path=entrant.path, precision=entrant.precision, device=wishes.device, threads=wishes.threads
            )
            for warning in facts["warnings"]:
                print(f"warning: {warning}", file=sys.stderr)
            timed.append(Timed(entrant.name, entrant.path, facts))
    first = timed[0]
    for other in timed[1:]:
        same = {"file_channels": "channels", "structures": "structures"}
        for fact, word in same.items():
            if other.facts[fact] != first.facts[fact]:
                raise ValueError(
                    f"{other.name}: has other {word} than {first.name}; benchmark them in runs of their own"
                )
    return timed


def _cases(children: Sequence[Child], timed: Sequence[Timed], wishes: Wishes) -> Cases:
    if wishes.data is not None:
        dataset = read_dataset(wishes.data, wishes.layout)
        chosen = _validation_cases(children, dataset, wishes)[: wishes.max_cases]
        jobs = [{"case": files.case, "image": str(files.image)} for files in chosen]
        return Cases(tuple(jobs), f"{len(jobs)} cases of {dataset.root.resolve().name}", scored=True)
    if wishes.images:
        return Cases(
            tuple({"image": str(path)} for path in wishes.images), f"{', '.join(p.name for p in wishes.images)}"
        )
    facts = timed[0].facts
    shape, spacing_mm = facts["median_shape"], facts["spacing_mm"]
    words = f"a generated case of {' x '.join(map(str, shape))} voxels, the median size of {timed[0].name}'s plan"
    return Cases(({"channels": facts["file_channels"], "shape": shape, "spacing_mm": spacing_mm},), words)


def _validation_cases(children: Sequence[Child], dataset: Dataset, wishes: Wishes) -> list[CaseFiles]:
    """The cases that every model that knows its validation cases has among them; all where none knows any."""
    splits = [child.ask("cases", data=str(dataset.root), layout=wishes.layout) for child in children]
    known = [set(split["val"]) for split in splits if split["val"]]
    common = set.intersection(*known) if known else {files.case for files in dataset.training}
    chosen = [files for files in dataset.training if files.case in common and files.label is not None]
    if not chosen:
        raise ValueError(f"--data {dataset.root}: no case was kept for validation by all of these models")
    for child, split in zip(children, splits, strict=True):
        if seen := common & set(split["train"]):
            print(
                f"warning: {child.name} was trained on {len(seen)} of the cases, so its Dice is memory", file=sys.stderr
            )
    if not known:
        print("warning: no model says which cases it was validated on; all are scored", file=sys.stderr)
    return chosen


def _warm_up(children: Sequence[Child], cases: Cases, wishes: Wishes) -> None:
    seconds = 0.0
    with progress("warming up", lines=True) as advance:
        for done, child in enumerate(children, 1):
            taken = child.ask("warm_up", case=cases.jobs[0])
            seconds += taken["case_s"] * max(wishes.rounds, len(cases.jobs))
            seconds += taken["window_s"] * taken["windows"] * wishes.rounds
            advance(done, len(children))
    print(f"measuring, about {seconds:.0f} s …", file=sys.stderr, flush=True)


def _take_turns(children: Sequence[Child], timed: Sequence[Timed], cases: Cases, rounds: int) -> None:
    """Every round each model has its turn, in an order that moves on by one; nothing else runs meanwhile.

    Windows are timed in the first `rounds`; cases in as many, and until each case had its round.
    """
    n, total = len(children), max(rounds, len(cases.jobs))
    ended: list[tuple[float, float] | None] = [None] * n
    with progress("measuring", lines=True) as advance:
        for number in range(total):
            job = cases.jobs[number % len(cases.jobs)]
            score = cases.scored and number < len(cases.jobs)
            for turn in range(n):
                place = (number + turn) % n
                child, one = children[place], timed[place]
                began = time.perf_counter()
                made = child.ask("turn", case=job, windows=number < rounds, score=score)
                if (before := ended[place]) is not None:
                    one.idle_s += began - before[0]
                    one.idle_cpu_s += made["cpu_s"][0] - before[1]
                ended[place] = time.perf_counter(), made["cpu_s"][1]
                _note(one, made, job)
                advance(number * n + turn + 1, total * n)


def _note(one: Timed, made: Mapping[str, Any], job: Mapping[str, Any]) -> None:
    case = made["case"]
    if made["windows_s"]:
        one.windows_s.append(statistics.median(made["windows_s"]))
    one.cases_s.append(case["total_s"])
    one.network_s.append(case["network_s"])
    one.windows_a_case.append(case["windows"])
    one.peak_gib = made["peak_gib"]
    if "dice" in case:
        one.dice[job["case"]] = case["dice"]


def _count_layers(children: Sequence[Child], timed: Sequence[Timed]) -> None:
    with progress("time by layer", lines=True) as advance:
        for done, (child, one) in enumerate(zip(children, timed, strict=True), 1):
            one.layers = child.ask("layers", rounds=LAYER_ROUNDS)["layers"]
            advance(done, len(children))


def _say_load(machine: Mapping[str, Any]) -> None:
    load, cores = machine["load_before"], machine["cores"]
    if load is not None and load > BUSY_LOAD * cores:
        print(
            f"warning: other programs are running (load {load} on {cores} cores): times will be too long and uneven, "
            "torch's most of all; ratios within one engine suffer less",
            file=sys.stderr,
        )


def _need_matplotlib() -> None:
    """Says that the picture cannot be drawn before the work, not after it."""
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise ValueError("--out with --data draws a picture: matplotlib is missing; pip install 'decaseg[report]'")
