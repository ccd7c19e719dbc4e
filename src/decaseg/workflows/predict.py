"""`decaseg predict`: label maps for images, each on its image's own grid."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from decaseg import __version__
from decaseg.inference.engines.openvino_engine import OpenVinoEngine
from decaseg.inference.memory import ImageFacts, Need, Networks, prediction_need
from decaseg.inference.overlap import overlapped, side_by_side
from decaseg.inference.predictor import Prediction, Predictor, Prepared
from decaseg.inference.restore import Wanted
from decaseg.planning.memory import parameters
from decaseg.reporting.progress import progress
from decaseg.storage import nifti
from decaseg.storage.finished import FOLDER, Finished
from decaseg.storage.output import one_of_writers
from decaseg.storage.processor import available_cores
from decaseg.storage.provenance import available_memory_gib
from decaseg.workflows.inputs import DicomInput, Input, content_of, find_inputs
from decaseg.workflows.opening import Model, ensemble, open_model
from decaseg.workflows.sharing import Share

SEGMENTATION = "segmentation"  # the output that DICOM images have besides
STAGES = ("read", "prepare", "network", "restore", "write")
Answer = TypeVar("Answer")
USABLE_SHARE = 0.95  # of the memory that the machine has free
SMALL_WINDOW = 64**3  # voxels; larger ones keep all cores busy, and take much memory each
CASES_A_STREAM = 4  # with fewer, compiling anew and the last case by itself cost what is won


@dataclass(frozen=True)
class Case:
    """One image to predict, the files to write, and what they are to hold: `job`."""

    name: str
    image: Input
    outputs: Mapping[str, Path]
    job: Mapping[str, Any]


@dataclass(frozen=True)
class Dicom:
    """What is asked of DICOM images: the UIDs of `series`, and whether a DICOM-SEG is written."""

    series: tuple[str, ...] = ()
    segmentation: bool = True


@dataclass
class Clock:
    """Seconds by stage, of a case or of all; stages of different cases overlap."""

    stages: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))

    def add(self, **seconds: float) -> None:
        for stage, value in seconds.items():
            self.stages[stage] += value

    def __str__(self) -> str:
        listed = ", ".join(f"{stage} {value:.2f}" for stage, value in self.stages.items())
        share = self.stages["network"] / (sum(self.stages.values()) or 1.0)
        return f"{listed} s; network {share:.0%}"


def run(
    model: Path,
    inputs: Sequence[Path],
    out: Path,
    opening: Mapping[str, Any],
    wanted: Wanted = Wanted(),
    threads: int | None = None,
    others: Sequence[Path] = (),
    dicom: Dicom = Dicom(),
) -> int:
    """Writes `out/<case>.nii.gz` for every image, and the maps that are `wanted`; returns 0.

    `opening` are the arguments of `open_model`; the probabilities of the models `others` are averaged with MODEL's.
    Cases that are finished already, by the same model, options and image, are not predicted again. Under torchrun
    each process takes its share of the cases. ValueError names the model or image that cannot be used; what was
    finished before it stays.
    """
    share, started = Share.from_torchrun(), time.perf_counter()
    opened, *more = (open_model(path, **opening, threads=share.threads(threads)) for path in (model, *others))
    predictor = ensemble(opened, more)
    for warning in (warning for one in (opened, *more) for warning in one.warnings):
        print(f"warning: {warning}", file=sys.stderr)
    images = find_inputs(inputs, predictor.preprocessing, dicom.series)
    cases = _cases(images, out, _job(predictor, [opened, *more], wanted), wanted, dicom)
    finished = Finished(out)
    mine = share.of(cases)
    todo = [case for case in mine if not finished.is_done(case.name, case.job, case.outputs.values())]
    needs = _needs(todo, predictor, opened, wanted)
    streams = _streams(predictor, list(needs.values()), share.threads(threads) or available_cores())
    told = _check_memory(todo, needs, streams, predictor, wanted)
    with one_of_writers(out, FOLDER):
        total = _predict(todo, predictor, wanted, finished, needs, streams, _description(opened), told)
    there = f"; {len(mine) - len(todo)} were there already" if len(todo) < len(mine) else ""
    seconds = time.perf_counter() - started
    names = _description(opened).removeprefix("decaseg: ")
    print(f"{share.words}{len(todo)} predicted in {seconds:.1f} s ({names}){there}: {out}")
    if todo:
        print(f"{share.words}{total}")
    return 0


def _predict(
    todo: Sequence[Case],
    predictor: Predictor,
    wanted: Wanted,
    finished: Finished,
    needs: Mapping[str, Need],
    streams: int,
    description: str,
    told: str,
) -> Clock:
    """Reads, predicts and writes the cases: three at a time in different stages or, with `streams`, side by side.

    `told` is said once a case is ready for the network: before that, a refusal is to be the only line.
    """
    total, unsaid = Clock(), [told]
    if streams > 1 and isinstance(predictor.engine, OpenVinoEngine):
        predictor = replace(predictor, engine=predictor.engine.in_streams(streams))
    clocks = {case.name: Clock() for case in todo}

    def read(case: Case) -> Prepared:
        begin = time.perf_counter()
        image = _naming(case, case.image.read)
        clocks[case.name].add(read=time.perf_counter() - begin)
        return _naming(case, lambda: predictor.prepare(image))

    def compute(case: Case, prepared: Prepared) -> Prediction:
        with suppress(IndexError):  # said by whoever comes first
            print(unsaid.pop(), file=sys.stderr, flush=True)
        if streams > 1:
            return _naming(case, lambda: predictor.predict(prepared, wanted))
        with progress(f"{case.name} ({todo.index(case) + 1} of {len(todo)})") as advance:
            return _naming(case, lambda: predictor.predict(prepared, wanted, advance))

    def write(case: Case, made: Prediction) -> None:
        clock, begin = clocks[case.name], time.perf_counter()
        for doubt in made.warnings:
            print(f"warning: {case.image}: {doubt}", file=sys.stderr, flush=True)
        for name, path in case.outputs.items():
            if name == SEGMENTATION:
                assert isinstance(case.image, DicomInput)
                case.image.write_segmentation(path, made.labels, predictor.target.painted_names())
            else:
                nifti.write(path, getattr(made, name), description)
        seconds = made.seconds
        clock.add(prepare=seconds.prepare, network=seconds.network, restore=seconds.restore)
        clock.add(write=time.perf_counter() - begin)
        finished.write(case.name, case.job, case.outputs.values(), seconds=clock.stages)
        if streams == 1:
            say(case)

    def say(case: Case) -> None:
        total.add(**clocks[case.name].stages)
        print(f"{case.name}: {clocks[case.name]}", file=sys.stderr, flush=True)

    if streams == 1:
        overlapped(todo, read, compute, write, lambda case: needs[case.name].read_ahead)
        return total
    beside = side_by_side(todo, lambda case: write(case, compute(case, read(case))), streams + 1)
    with progress("predicting") as advance, closing(beside):  # closed, whatever interrupts it, it begins no other case
        for number, case in enumerate(beside, 1):
            say(case)
            advance(number, len(todo))
    return total


def _streams(predictor: Predictor, needs: Sequence[Need], cores: int) -> int:
    """How many cases are computed side by side: 1 unless there are many, with windows too small to share among cores.

    On 2 cores that is 1.2 (bf16) to 1.3 times (int8) as fast for windows of 40 x 56 x 40; on more, more. One case more
    than streams is held, so that reading and writing keep no stream waiting; half of what memory is free may be used.
    """
    if not isinstance(predictor.engine, OpenVinoEngine) or predictor.others:
        return 1
    if not needs or np.prod(predictor.window) > SMALL_WINDOW or not all(need.read_ahead for need in needs):
        return 1
    one, first = max(need.one_more_gib for need in needs), max(need.peak_gib for need in needs)
    free = available_memory_gib()
    fit = cores if free is None or one <= 0 else int((free / 2 - first) / one)
    return max(1, min(cores, len(needs) // CASES_A_STREAM, fit))


def _naming(case: Case, work: Callable[[], Answer]) -> Answer:
    try:
        return work()
    except ValueError as error:
        if str(error).startswith(tuple(str(path) for path in (case.image.path, *case.image.files))):
            raise
        raise ValueError(f"{case.image.path}: {error}") from None


def _job(predictor: Predictor, models: Sequence[Model], wanted: Wanted) -> dict[str, Any]:
    """All that decides the result, the image left out."""
    return {
        "decaseg": __version__,
        "models": [model.sha256() for model in models],
        "engine": predictor.engine.name,
        "precision": predictor.engine.precision,
        "step": predictor.step,
        "postprocessing": None if predictor.postprocessing is None else predictor.postprocessing.to_json(),
        "tta": predictor.tta,
        "input_check": predictor.input_check is not None,
        "probabilities": wanted.probabilities,
        "uncertainty": wanted.uncertainty,
    }


def _cases(images: Sequence[Input], out: Path, job: Mapping[str, Any], wanted: Wanted, dicom: Dicom) -> list[Case]:
    """Each image with what is to be written for it; ValueError where that would overwrite an image or another case."""
    cases, taken = [], {path.resolve(): path for image in images for path in image.files}
    for image in images:
        name = image.name
        outputs = {"labels": out / f"{name}.nii.gz"}
        outputs |= {kind: out / f"{name}_{kind}.nii.gz" for kind in ("probabilities", "uncertainty")
                    if getattr(wanted, kind)}  # fmt: skip
        if dicom.segmentation and isinstance(image, DicomInput):
            outputs[SEGMENTATION] = out / f"{name}.dcm"
        for path in outputs.values():
            if (there := taken.get(path.resolve())) is not None:
                raise ValueError(f"--out {out}: {path.name} would overwrite {there}; name another folder")
        taken |= {path.resolve(): path for path in outputs.values()}
        cases.append(Case(name, image, outputs, {**job, "image": content_of(image)}))
    return cases


def _needs(todo: Sequence[Case], predictor: Predictor, opened: Model, wanted: Wanted) -> dict[str, Need]:
    """The memory that each case needs by itself."""
    spec = opened.plan.network
    networks = Networks(
        spec, parameters(spec), predictor.window, predictor.engine.name, predictor.engine.precision, predictor.step,
        1 + len(predictor.others),
    )  # fmt: skip
    needs = dict.fromkeys((case.name for case in todo), Need(0, 0, 0, 0))
    for case in todo:
        with suppress(ValueError):  # which is raised when its turn has come
            facts = ImageFacts(*case.image.facts())
            needs[case.name] = prediction_need(facts, predictor.preprocessing, networks, wanted)
    return needs


def _check_memory(
    todo: Sequence[Case], needs: Mapping[str, Need], streams: int, predictor: Predictor, wanted: Wanted
) -> str:
    """In a line, how much memory will be needed; ValueError where the machine does not have it."""
    if not needs:
        return ""
    worst = max(todo, key=lambda case: needs[case.name].peak_gib)
    peak, free = needs[worst.name].peak_gib, available_memory_gib()
    if streams > 1:
        peak += (streams - 1) * needs[worst.name].one_more_gib
    if free is not None and peak > free * USABLE_SHARE + _resident_gib():
        ways = ["use a machine with more"]
        if wanted.probabilities or wanted.uncertainty:
            ways.insert(0, "leave out --probabilities and --uncertainty")
        if predictor.others:
            ways.insert(0, "leave out --with")
        raise ValueError(
            f"{worst.image.path}: needs about {peak:.1f} GiB of memory, {free:.1f} are free; {' or '.join(ways)}"
        )
    return f"memory: about {peak:.2f} GiB at most ({worst.name})"


def _resident_gib() -> float:
    """What this process has already, which the estimate counts too."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0
    return pages * 4096 / 2**30


def _description(opened: Model) -> str:
    names = "; ".join(f"{value} {name}" for value, name in opened.plan.target.painted_names().items())
    return f"decaseg: {names}"
