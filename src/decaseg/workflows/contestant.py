"""One model of `decaseg benchmark`: the process that opens it, and runs it when it is its turn."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decaseg.benchmarking.generated import generated_volume
from decaseg.benchmarking.layers import layers_of
from decaseg.inference.postprocess import PostProcessing
from decaseg.planning.plan import Plan
from decaseg.storage import nifti
from decaseg.storage.bundle import BundleDir
from decaseg.storage.dataset import CaseFiles, Dataset
from decaseg.storage.files import read_json
from decaseg.storage.images import read_image
from decaseg.storage.layouts import read_dataset
from decaseg.storage.processor import available_cores
from decaseg.storage.rundir import RunDir
from decaseg.volume import Volume
from decaseg.workflows.matching import as_known
from decaseg.workflows.opening import Model, make_predictor, open_model

PLAIN = "plain"
LONG_ENOUGH_S = 0.3  # of a turn's windows: a single short one is less than what disturbs a machine
WARM_UP_WINDOWS = 2
REST_S = 0.02


class Contestant:
    """The model, the image it has at hand, and an answer to everything it may be asked: the methods without `_`."""

    def __init__(self) -> None:
        self._model: Model
        self._window: NDArray[np.float32]
        self._windows_a_turn = 1
        self._image: tuple[Any, Volume] | None = None
        self._dataset: Dataset | None = None

    def open(self, path: str, precision: str, device: str, threads: int | None) -> dict[str, Any]:
        """Opens the model and says what it is. ValueError where it does not compute in the precision asked for."""
        if precision == PLAIN:
            self._model = _open_plain(RunDir(Path(path)), device, threads)
        else:
            self._model = open_model(Path(path), device=device, precision=precision, threads=threads)
        predictor, bundle = self._model.predictor, self._model.bundle or {}
        if precision not in ("auto", PLAIN, predictor.engine.precision):
            raise ValueError(f"computes in {predictor.engine.precision}, not in {precision}; leave out @{precision}")
        shape = [len(predictor.preprocessing.channels), *predictor.window]
        self._window = np.random.default_rng(0).standard_normal((1, *shape), dtype=np.float32)
        return {
            "engine": predictor.engine.name,
            "precision": predictor.engine.precision,
            "stored": bundle.get("precision"),
            "members": self._model.plan.network.members,
            "warnings": self._model.warnings,
            "window": shape,
            "file_channels": predictor.preprocessing.file_channels,
            "spacing_mm": predictor.preprocessing.spacing_mm,
            "median_shape": self._model.plan.median_shape,
            "structures": predictor.target.label_sets,
        }

    def cases(self, data: str, layout: str | None) -> dict[str, Any]:
        """Which cases of a data set the model was trained on, and which it was validated on.

        The data set is kept, with channels and labels as the model knows them, and its cases are named from now on.
        """
        from decaseg.workflows.evaluate import known_cases

        self._dataset = as_known(read_dataset(Path(data), layout), self._model.plan)
        train, val = known_cases(self._model, self._dataset)
        return {"train": sorted(train), "val": sorted(val)}

    def warm_up(self, case: Mapping[str, Any]) -> dict[str, Any]:
        """Runs once what will be timed, so that nothing is timed that happens only once; seconds of each."""
        for _ in range(WARM_UP_WINDOWS):
            self._model.predictor.engine(self._window)
        taken = self._time_windows(1)[0]
        self._windows_a_turn = int(np.clip(round(LONG_ENOUGH_S / max(taken, 1e-6)), 1, 100))
        whole = self._time_case(case)
        return {"window_s": taken, "case_s": whole["total_s"], "windows": self._windows_a_turn}

    def turn(self, case: Mapping[str, Any], windows: bool, score: bool) -> dict[str, Any]:
        """One turn: a few windows, then a whole case, image in memory to label map; with `score` its Dice too.

        `cpu_s` are the processor seconds of all threads of this process when the turn began and when it ended.
        """
        began = time.process_time()
        self._read(case)
        taken = self._time_windows(self._windows_a_turn) if windows else []
        whole = self._time_case(case, score)
        _settle()
        return {"windows_s": taken, "case": whole, "peak_gib": _peak_gib(), "cpu_s": [began, time.process_time()]}

    def layers(self, rounds: int) -> dict[str, Any]:
        """The layers of the network by time, see `benchmarking.layers`."""
        model = None
        if self._model.bundle is not None:
            model = BundleDir(self._model.path).model(self._model.bundle["model_format"])
        found = layers_of(self._model.predictor.engine, self._window, model, rounds)
        return {"layers": [layer.to_json() for layer in found]}

    def _time_windows(self, times: int) -> list[float]:
        taken = []
        for _ in range(times):
            began = time.perf_counter()
            self._model.predictor.engine(self._window)
            taken.append(time.perf_counter() - began)
        return taken

    def _time_case(self, case: Mapping[str, Any], score: bool = False) -> dict[str, Any]:
        image, windows = self._read(case), 0

        def count(done: int, total: int) -> None:
            nonlocal windows
            windows = total

        began = time.perf_counter()
        try:
            made = self._model.predictor(image, on_window=count)
        except ValueError as error:
            raise ValueError(f"{case.get('image', 'generated image')}: {error}") from None
        answer = {"total_s": time.perf_counter() - began, "network_s": made.seconds.network, "windows": windows}
        return answer | ({"dice": self._dice(case, made.labels)} if score else {})

    def _read(self, case: Mapping[str, Any]) -> Volume:
        """The image of a file, or a generated one; kept until another is asked for."""
        if self._image is None or self._image[0] != case:
            self._image = None
            if "image" in case:
                self._image = case, read_image(self._files(case))
            else:
                self._image = case, generated_volume(case["channels"], case["shape"], case["spacing_mm"])
        return self._image[1]

    def _dice(self, case: Mapping[str, Any], labels: Volume) -> dict[str, float]:
        """Structure -> Dice, by the rules of `evaluate`."""
        from decaseg.metrics.case import mask_of, without_ignored
        from decaseg.metrics.choices import METRICS
        from decaseg.metrics.pair import MaskPair
        from decaseg.workflows.evaluate import read_pair

        assert self._dataset is not None  # only its cases have labels
        _, truth = read_pair(self._files(case), self._dataset.known_values)
        made, true = without_ignored(labels.array[0], truth.array[0], self._dataset.ignore)
        target, found = self._model.predictor.target, {}
        for name, values in target.label_sets.items():
            predicted = mask_of(made, target.predicted_sets[name])
            found[name] = METRICS["dice"](MaskPair(predicted, mask_of(true, values), labels.spacing_mm))
        return found

    def _files(self, case: Mapping[str, Any]) -> CaseFiles:
        """Those of a case of the data set, or an image by itself."""
        if self._dataset is not None and "case" in case:
            return self._dataset.case(case["case"])
        return CaseFiles(nifti.case_name(Path(case["image"])), Path(case["image"]), None)


def _open_plain(run: RunDir, device: str, threads: int | None) -> Model:
    """The RUN as plain PyTorch runs it; nothing here touches how memory is kept, as `open_model` does for torch."""
    if not run.is_run():
        raise ValueError(f"{run.root}: @{PLAIN} is for a RUN, which torch runs; this is none")
    from decaseg.benchmarking.plain_torch import PlainTorch
    from decaseg.inference.engines.torch_engine import load_network
    from decaseg.nets.device import choose_device

    plan = Plan.from_json(read_json(run.plan), str(run.plan))
    network = load_network(run.weights, plan.network)
    engine = PlainTorch(network, choose_device(device), threads or available_cores())
    predictor = make_predictor(plan, engine)
    if run.postprocessing.is_file():
        chosen = PostProcessing.from_json(read_json(run.postprocessing), plan.target, str(run.postprocessing))
        predictor = replace(predictor, postprocessing=chosen if chosen.does_something else None)
    return Model(run.root, plan, predictor, run, None, ())


def _settle() -> None:
    """Waits until this process's threads are at rest: libraries let them spin for a while in case more work comes."""
    for _ in range(100):
        before = time.process_time()
        time.sleep(REST_S)
        if time.process_time() - before < REST_S / 10:
            return


def _peak_gib() -> float:
    """The most memory this process ever had resident."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):  # of this program alone; getrusage's may be its parent's
                return int(line.split()[1]) / 2**20
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)


def main() -> None:
    """Answers lines of JSON until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when this ends
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is not an answer
    contestant = Contestant()
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = getattr(contestant, asked.pop("do"))(**asked)
        except OSError as error:
            answer = {"error": f"{error.filename or ''}: {error.strerror or error}".removeprefix(": ")}
        except ValueError as error:
            answer = {"error": str(error)}
        except ModuleNotFoundError as error:
            answer = {"error": f"needs {error.name}, which is not installed; pip install 'decaseg[all]'"}
        except MemoryError:
            answer = {"error": "not enough memory; benchmark fewer models at a time"}
        except Exception:
            answer = {"fault": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
