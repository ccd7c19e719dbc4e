"""`decaseg export`: from a RUN to a BUNDLE that predicts the same without torch, or says that it does not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from decaseg.exporting.card_facts import card_facts
from decaseg.exporting.int8 import Limits
from decaseg.exporting.model_card import model_card
from decaseg.exporting.onnx_model import write_onnx
from decaseg.exporting.openvino_ir import write_openvino
from decaseg.exporting.parity import TOLERANCES, Compared, Parity, Tolerance, judge_parity
from decaseg.inference.engines.torch_engine import load_network
from decaseg.inference.predictor import Predictor
from decaseg.planning.plan import Plan
from decaseg.reporting.progress import Advance, progress
from decaseg.storage.bundle import FORMAT, MODEL_FILES, BundleDir
from decaseg.storage.dataset import CaseFiles, Dataset
from decaseg.storage.files import read_json, write_json, write_text
from decaseg.storage.layouts import read_dataset
from decaseg.storage.output import only_writer
from decaseg.storage.provenance import provenance, without_folders
from decaseg.storage.rundir import RunDir
from decaseg.workflows.evaluate import hash_of_case, read_pair, score_labels
from decaseg.workflows.matching import as_known
from decaseg.workflows.opening import open_model
from decaseg.workflows.quantising import NoInt8Model, check_int8, write_int8

MAX_GATE_CASES = 20  # whole cases through both engines; more cost minutes and change the answer little


@dataclass(frozen=True)
class Source:
    """What a writer of a bundle's model is given; `dataset` is what --data names, if anything, `limits` are int8's."""

    run: RunDir
    plan: Plan
    network: nn.Module
    precision: str
    dataset: Dataset | None
    threads: int | None
    limits: Limits


def _openvino(source: Source, bundle: BundleDir) -> Mapping[str, Any]:
    write_openvino(source.network, source.plan.network.in_channels, source.plan.patch, bundle.root, source.precision)
    return {}


def _onnx(source: Source, bundle: BundleDir) -> Mapping[str, Any]:
    path = bundle.model("onnx")
    write_onnx(source.network, source.plan.network.in_channels, source.plan.patch, path, source.precision)
    return {}


def _int8(source: Source, bundle: BundleDir) -> Mapping[str, Any]:
    assert source.dataset is not None  # `check_int8` has seen to it
    return write_int8(source.run, source.plan, source.network, source.dataset, bundle, source.limits, source.threads)


# A writer puts the model into the bundle and returns what bundle.json is to say besides.
WRITERS: dict[tuple[str, str], Callable[[Source, BundleDir], Mapping[str, Any]]] = {
    ("openvino", "fp32"): _openvino,
    ("openvino", "fp16"): _openvino,
    ("openvino", "bf16"): _openvino,
    ("openvino", "int8"): _int8,
    ("onnx", "fp32"): _onnx,
    ("onnx", "fp16"): _onnx,
}
COMPUTES_IN = {"fp32": "fp32", "fp16": "fp32", "bf16": "bf16", "int8": "int8"}  # by what --precision says


def run(
    source: Path,
    out: Path,
    model_format: str = "openvino",
    precision: str = "fp32",
    data: Path | None = None,
    threads: int | None = None,
    max_drop: float | None = None,
    minutes: float | None = None,
    layout: str | None = None,
) -> int:
    """Writes the bundle; returns 0, or 1 where the parity gate failed (the bundle then says so itself).

    With `data`, whole validation cases (else any cases with labels) go through source and export. The source runs
    in fp32, so that what is measured is the export and not the processor's shortcuts. `max_drop` and `minutes` are
    int8's (see `Limits`): where no INT8 model meets them, there is no bundle, and 1 is returned.
    """
    folder, bundle = RunDir(source), BundleDir(out)
    write, limits = _writer(model_format, precision), _limits(precision, max_drop, minutes)
    if not folder.is_run():
        raise ValueError(f"{source}: is no RUN (no plan.json and recipe.json in it); name the folder train wrote")
    if not bundle.is_free():
        raise ValueError(f"--out {out}: exists and is no bundle; name a new folder")
    plan = Plan.from_json(read_json(folder.plan), str(folder.plan))
    dataset = None if data is None else as_known(read_dataset(data, layout), plan)
    if precision == "int8":
        check_int8(folder, dataset)
    network = load_network(folder.weights, plan.network)
    print(f"converting to {model_format} {precision} …", file=sys.stderr, flush=True)
    with only_writer(out), _making(bundle) as making:
        try:
            more = write(Source(folder, plan, network, precision, dataset, threads, limits), making)
        except NoInt8Model as no:
            bundle.remove_models()
            print(f"FAILED: {no}; nothing was written: use --precision bf16, or allow more with --max-drop")
            return 1
        document = {**_document(folder, plan, model_format, precision, threads), **more}
        document |= card_facts(folder, making, plan, model_format, dataset)
        write_json(making.document, document)  # what the gate opens
        tolerance = Tolerance(limits.max_drop) if precision == "int8" else TOLERANCES[precision]
        parity = None if dataset is None else _gate(folder, making.root, dataset, tolerance, threads)
        if parity is not None:
            document["parity"] = parity.to_json()
            write_json(making.document, document)
        write_text(making.card, model_card(document))
        bundle.take()
    return _say(out, parity, document)


@contextmanager
def _making(bundle: BundleDir) -> Iterator[BundleDir]:
    """The hidden folder in which the new bundle is made; what stands in `bundle` stays until the new one is whole."""
    bundle.drop_making()  # of an export that was killed
    bundle.making.root.mkdir()
    try:
        yield bundle.making
    finally:
        with suppress(OSError):  # what could not be put back now is by the next export
            bundle.drop_making()


def _writer(model_format: str, precision: str) -> Callable[[Source, BundleDir], Mapping[str, Any]]:
    if model_format not in MODEL_FILES:
        raise ValueError(f"--format {model_format}: choose one of {', '.join(MODEL_FILES)}")
    if (model_format, precision) not in WRITERS:
        known = ", ".join(p for form, p in WRITERS if form == model_format)
        raise ValueError(f"--precision {precision}: for --format {model_format} choose one of {known}")
    return WRITERS[model_format, precision]


def _limits(precision: str, max_drop: float | None, minutes: float | None) -> Limits:
    for option, value in (("--max-drop", max_drop), ("--minutes", minutes)):
        if value is not None and precision != "int8":
            raise ValueError(f"{option} {value:g}: is for --precision int8; leave it out")
    limits = Limits()
    return Limits(
        limits.max_drop if max_drop is None else max_drop, minutes=limits.minutes if minutes is None else minutes
    )


def _document(folder: RunDir, plan: Plan, model_format: str, precision: str, threads: int | None) -> dict[str, Any]:
    splits, made = read_json(folder.splits), read_json(folder.provenance)
    source = open_model(folder.root, device="cpu", threads=threads)
    post = source.predictor.postprocessing
    for warning in source.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return {
        "format": FORMAT,
        "model_format": model_format,
        "precision": precision,
        "compute_precision": COMPUTES_IN[precision],
        "plan": plan.to_json(),
        "preprocessing": plan.preprocessing.to_json(),
        "labels": {str(v): name for v, name in plan.target.painted_names().items()},
        "channels": list(plan.preprocessing.channels),
        "training_cases": len(splits["train"]),
        "split_sha256": {part: sorted(hash_of_case(case) for case in splits[part]) for part in ("train", "val")},
        "selection": source.selection(),
        "postprocessing": None if post is None else post.to_json(),
        "input_check": read_json(folder.recipe).get("input_check"),
        "provenance": without_folders(provenance(run=without_folders(made))),
        "parity": None,
    }


def _gate(folder: RunDir, out: Path, dataset: Dataset, tolerance: Tolerance, threads: int | None) -> Parity:
    source = open_model(folder.root, "torch", device="cpu", precision="fp32", threads=threads, input_check=False)
    export = open_model(out, threads=threads, input_check=False)
    val = set(read_json(folder.splits)["val"])
    cases = [files for files in dataset.training if files.case in val] or list(dataset.training)
    with progress("parity gate", lines=True) as advance:
        compared = _compare(cases[:MAX_GATE_CASES], dataset, source.predictor, export.predictor, advance)
        first, second = (f"{m.predictor.engine.name} {m.predictor.engine.precision}" for m in (source, export))
        return judge_parity(compared, first, second, tolerance)


def _compare(
    cases: list[CaseFiles], dataset: Dataset, source: Predictor, export: Predictor, advance: Advance
) -> Iterator[Compared]:
    for number, files in enumerate(cases, 1):
        image, truth = read_pair(files, dataset.known_values)
        first, made = source(image).labels, export(image)
        second, seconds, target = made.labels, made.seconds, source.target
        before, after = (score_labels(labels, truth, target, ignored=dataset.ignore) for labels in (first, second))
        yield Compared(first, second, before, after, seconds.prepare + seconds.network + seconds.restore)
        advance(number, len(cases))


def _say(out: Path, parity: Parity | None, document: Mapping[str, Any]) -> int:
    if parity is None:
        print(f"written: {out}; nobody has checked it: export with --data DATASET to see whether it predicts the same")
        return 0
    print(
        f"parity on {parity.cases} whole cases: mean Dice {parity.mean_dice_source:.4f} ({parity.source}) "
        f"-> {parity.mean_dice_export:.4f} ({parity.export}), {parity.disagreement:.4%} of foreground voxels differ"
    )
    meant, ran = document["compute_precision"], parity.export.partition(" ")[2]
    if meant != ran:
        print(
            f"warning: this processor computes {meant} as {ran}, so that is what was gated and what predictions will "
            f"use; export on a processor that has {meant}",
            file=sys.stderr,
        )
    if parity.passed:
        print(f"written: {out} (next: decaseg predict {out} IMAGE --out FOLDER)")
        return 0
    print(f"FAILED: {parity.reason}; {out} is marked as failed, do not use it")
    return 1
