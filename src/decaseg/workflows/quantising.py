"""What quantisation to INT8 is handed: windows of the training cases, and a judge of whole cases."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from decaseg.data.preprocess import preprocess_label
from decaseg.exporting.calibration import FOREGROUND_SHARE, Calibration, CalibrationCase, draw_windows, windows_wanted
from decaseg.exporting.int8 import Limits, Round, Tools, import_nncf, quantise
from decaseg.exporting.openvino_ir import write_openvino
from decaseg.inference.empty import present_voxels
from decaseg.inference.engines import Engine
from decaseg.inference.engines.openvino_engine import OpenVinoEngine
from decaseg.inference.predictor import Predictor
from decaseg.metrics.case import mask_of, without_ignored
from decaseg.metrics.choices import METRICS
from decaseg.metrics.pair import MaskPair
from decaseg.nets.merged import PAYS, merged
from decaseg.planning.plan import Plan
from decaseg.reporting.progress import progress
from decaseg.storage.bundle import BundleDir
from decaseg.storage.dataset import CaseFiles, Dataset
from decaseg.storage.files import read_json
from decaseg.storage.rundir import RunDir
from decaseg.workflows.evaluate import hash_of_case, read_pair
from decaseg.workflows.opening import open_model

MAX_JUDGES = 8  # whole cases, each predicted once a round
BETWEEN = "int8"  # what layers in float compute in (see HINTS of the engine): docs/decisions/0009
SEED = 0


class NoInt8Model(Exception):
    """The search ended without a model that is good enough; the text says why."""


def check_int8(folder: RunDir, dataset: Dataset | None) -> None:
    """ValueError where NNCF is missing, or the cases that the RUN was trained on."""
    if dataset is None:
        raise ValueError("--precision int8: is calibrated on the cases it was trained on; give --data DATASET")
    _cases(folder, dataset)
    import_nncf()


def write_int8(
    folder: RunDir, plan: Plan, network: nn.Module, dataset: Dataset, bundle: BundleDir, limits: Limits,
    threads: int | None,
) -> dict[str, Any]:  # fmt: skip
    """Puts the INT8 model into the bundle; returns what bundle.json is to say. NoInt8Model where there is none.

    What is quantised is the network with its ways up merged (`nets.merged`), where that is faster (benchmarks/int8).
    """
    training, judging, judged_on = _cases(folder, dataset)
    predictor = open_model(folder.root, "torch", device="cpu", precision="fp32", threads=threads).predictor
    with tempfile.TemporaryDirectory(prefix="decaseg-int8-") as scratch:
        network = merged(network) if plan.network.norm in PAYS else network
        write_openvino(network, plan.network.in_channels, plan.patch, Path(scratch), "fp32")
        calibration = _calibration(training, dataset, predictor)
        tools = Tools(
            open_float=lambda path: OpenVinoEngine(path, "fp32", threads),
            open_int8=lambda path: OpenVinoEngine(path, BETWEEN, threads),
            judge=partial(_mean_dice, judging, dataset, predictor),
            stage=partial(progress, lines=True),
            target=plan.target,
            on_round=_say,
        )
        found = quantise(Path(scratch) / "model.xml", bundle.model("openvino"), calibration, tools, limits)
    if not found.met:
        raise NoInt8Model(f"no INT8 model met --max-drop {limits.max_drop:g}: {found.reason}")
    said = found.to_json() | {"max_drop": limits.max_drop, "judged_on": judged_on, **_of(calibration)}
    said["judged_sha256"] = sorted(hash_of_case(files.case) for files in judging)
    return {"compute_precision": BETWEEN, "quantisation": said}


def _cases(folder: RunDir, dataset: Dataset) -> tuple[list[CaseFiles], list[CaseFiles], str]:
    """Cases to calibrate on, cases to judge by, and in words what the latter are."""
    splits = read_json(folder.splits)
    train, val = set(splits["train"]), set(splits["val"])
    training = [files for files in dataset.training if files.case in train]
    if not training:
        raise ValueError(
            f"--data {dataset.root}: holds none of the cases that {folder.root} was trained on, which INT8 is "
            "calibrated on; name the data set it was trained with"
        )
    order = np.random.default_rng([SEED, 4]).permutation(len(training))
    judging = [files for files in dataset.training if files.case in val]
    if judging:
        return [training[i] for i in order], judging[:MAX_JUDGES], "validation cases"
    return [training[i] for i in order], [training[i] for i in order[::-1]][:MAX_JUDGES], "training cases"


def _calibration(training: Sequence[CaseFiles], dataset: Dataset, predictor: Predictor) -> Calibration:
    window = predictor.window
    files = training[: windows_wanted(len(predictor.preprocessing.channels), window)]

    def prepared() -> Iterator[CalibrationCase]:
        with progress("choosing windows", lines=True) as advance:
            for number, one in enumerate(files, 1):
                yield _prepared(one, dataset, predictor)
                advance(number, len(files))

    return draw_windows(prepared(), len(files), window, predictor.step, SEED)


def _prepared(files: CaseFiles, dataset: Dataset, predictor: Predictor) -> CalibrationCase:
    image, truth = read_pair(files, dataset.known_values)
    try:
        case = predictor.prepare(image)
    except ValueError as error:
        raise ValueError(f"{files.image}: {error}") from None
    values = sorted({value for s in predictor.target.structures for value in s.labels})
    foreground = np.isin(preprocess_label(truth, case.undo), values)
    present = present_voxels(case.array, predictor.preprocessing)
    return CalibrationCase(files.case, case.array, foreground, present)


def _mean_dice(judging: Sequence[CaseFiles], dataset: Dataset, predictor: Predictor, engine: Engine) -> float:
    """The mean over structures and cases, hard labels on the images' own grids, post-processing included."""
    judge, target = replace(predictor, engine=engine), predictor.target
    found = []
    with progress(f"judging in {engine.precision}", lines=True) as advance:
        for number, files in enumerate(judging, 1):
            image, truth = read_pair(files, dataset.known_values)
            labels, true = without_ignored(judge(image).labels.array[0], truth.array[0], dataset.ignore)
            found.append(
                np.mean(
                    [
                        _dice(mask_of(labels, target.predicted_sets[name]), mask_of(true, values))
                        for name, values in target.label_sets.items()
                    ]
                )
            )
            advance(number, len(judging))
    return float(np.mean(found))


def _dice(found: Any, truth: Any) -> float:
    return METRICS["dice"](MaskPair(found, truth, (1.0, 1.0, 1.0)))


def _of(calibration: Calibration) -> dict[str, Any]:
    return {
        "calibration": {
            "windows": len(calibration.windows),
            "with_foreground": calibration.with_foreground,
            "foreground_share_aimed_at": round(FOREGROUND_SHARE, 3),
            "seed": SEED,
            "cases_sha256": sorted(hash_of_case(case) for case in calibration.cases),
        }
    }


def _say(one: Round) -> None:
    print(one, file=sys.stderr, flush=True)


__all__: Sequence[str] = ("NoInt8Model", "check_int8", "write_int8")
