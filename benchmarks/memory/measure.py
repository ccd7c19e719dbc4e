"""Predicted against measured peak memory of training the `original` network, a process a point.

    python benchmarks/memory/measure.py --patches 64 96 144 --batches 1 2 8 --precisions fp32 bf16 --limit 11

Measured is the largest resident set of the whole process (ru_maxrss): interpreter, libraries, cases, batches read
ahead, augmentation, network, optimiser. Points predicted above `--limit` GiB are not run. `--savings` names which are
tried; default: the one that `train` would pick with that limit.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

SIDE = 152  # the cases' edge at least, as the original's cropped brains


def plan_of(edge: int, batch: int, saving: str):  # type: ignore[no-untyped-def]
    """The `original` recipe's plan for cubes of `edge`, without a data set."""
    from decaseg.data.preprocess import Preprocessing
    from decaseg.data.targets import make_target
    from decaseg.nets.spec import NetworkSpec
    from decaseg.planning.plan import Plan

    network = NetworkSpec(
        in_channels=1, out_channels=1, filters=(16, 32, 64, 128, 256), strides=((1, 1, 1), *((2, 2, 2),) * 4),
        kernels=((3, 3, 3),) * 5, norm="batch", nonlinearity="relu", downsample="maxpool",
    )  # fmt: skip
    how = Preprocessing(("FLAIR",), (0,), 1, (1.0, 1.0, 1.0), ())
    target = make_target("whole", {0: "background", 1: "tumour"})
    plan = Plan("generated", {0: "background", 1: "tumour"}, target, how, network, (edge,) * 3, batch, (0, 1, 2),
                (SIDE,) * 3, "")  # fmt: skip
    return replace(plan, saving=saving)


def one_point(edge: int, batch: int, precision: str, saving: str, steps: int) -> dict:
    """Trains `steps` steps through the loop that `train` uses; peak in GiB, seconds a step, losses."""
    import numpy as np
    import torch

    from decaseg.data.augment.pipeline import Augmentation
    from decaseg.data.augment.spatial import Spatial
    from decaseg.data.cases import TrainingCase
    from decaseg.data.patches import PatchSampler, read_ahead
    from decaseg.losses import LossSettings, make_loss
    from decaseg.nets.device import return_freed_memory, set_threads
    from decaseg.recipes import original
    from decaseg.training.distributed import Ranks
    from decaseg.training.loop import Budget, Hooks, Settings, fit
    from decaseg.training.optimise import SCHEDULES
    from decaseg.training.targets import truth_for_loss
    from decaseg.workflows import train  # noqa: F401 (all that the command loads is part of what it needs)
    from decaseg.workflows.fitting import new_state

    recipe = replace(original(), patch=(edge,) * 3, batch_size=batch)
    plan = plan_of(edge, batch, saving)
    set_threads(None)
    if saving != "none":
        return_freed_memory()
    rng = np.random.default_rng(0)
    side = max(SIDE, edge)
    cases = []
    for number in range(2):
        label = np.zeros((side,) * 3, np.uint8)
        label[side // 3 : side // 2, side // 3 : side // 2, side // 3 : side // 2] = 1
        image = (rng.standard_normal(label.shape, np.float32) + label).astype(np.float16)[None]
        cases.append(TrainingCase(str(number), image, label, {1: np.argwhere(label)[:2000].astype(np.int32)}))
    state = new_state(plan, recipe, torch.device("cpu"), Ranks())
    augment = Augmentation(plan.patch, Spatial(0, 0, (1, 1), 0, (0, 1, 2), True), None, 0)
    settings = Settings(recipe.lr, SCHEDULES["constant"], Budget(steps, 1), precision, None, "last", 1e9, 0.1, False)
    losses: list[float] = []
    ends, processor_ends = [time.perf_counter()], [time.process_time()]

    def on_step(step: int, loss: float, share: float, wait_s: float) -> None:
        losses.append(loss)
        ends.append(time.perf_counter())
        processor_ends.append(time.process_time())

    hooks = Hooks(lambda *a, **k: None, on_step, None, lambda now: None, lambda: False)  # type: ignore[arg-type]
    batches = read_ahead(PatchSampler(cases, augment.source_shape, batch, 0.0, 0), 0, 3 if saving == "none" else 1)
    cpu = torch.device("cpu")
    try:
        fit(
            state,
            batches,
            truth_for_loss(plan.target, cpu),
            augment,
            make_loss("log_dice", LossSettings()),
            settings,
            cpu,
            hooks,
        )
    finally:
        batches.close()
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    predicted = plan.memory_gib(precision)
    return {
        "edge": edge, "batch": batch, "precision": precision, "saving": saving,
        "predicted_gib": round(predicted, 3), "measured_gib": round(peak_gib, 3),
        "error": round(predicted / peak_gib - 1, 4),
        "seconds": [round(b - a, 2) for a, b in itertools.pairwise(ends)],
        "processor_seconds": [round(b - a, 2) for a, b in itertools.pairwise(processor_ends)],
        "losses": losses,
    }  # fmt: skip


def points(arguments: argparse.Namespace) -> Iterator[tuple[int, int, str, str]]:
    from decaseg.planning.memory import least_saving

    for precision in arguments.precisions:
        for edge in arguments.patches:
            for batch in arguments.batches:
                plan = plan_of(edge, batch, "none")
                names = arguments.savings or [
                    least_saving(plan.network, plan.patch, batch, arguments.limit, precision) or "no saving"
                ]
                for saving in names:
                    if saving != "no saving" and replace(plan, saving=saving).memory_gib(precision) <= arguments.limit:
                        yield edge, batch, precision, saving
                    else:
                        print(f"{precision} {edge}^3 x {batch}, {saving}: above {arguments.limit} GiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=int, nargs="+", default=[64, 80, 96, 112, 128, 144, 160])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--savings", nargs="+")
    parser.add_argument("--limit", type=float, default=11.0, help="GiB above which a point is not run")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--record", type=Path, help="file to add a JSON line a point to")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        edge, batch, precision, saving = arguments.one
        print(json.dumps(one_point(int(edge), int(batch), precision, saving, arguments.steps)))
        return
    for point in points(arguments):
        words = [sys.executable, __file__, "--steps", str(arguments.steps), "--one", *map(str, point)]
        answer = subprocess.run(words, capture_output=True, text=True)
        if answer.returncode:
            print(f"{point}: {answer.stderr.strip().splitlines()[-1:]}", flush=True)
            continue
        found = json.loads(answer.stdout.splitlines()[-1])
        name = f"{found['precision']} {found['edge']}^3 x {found['batch']}, {found['saving']}"
        sizes = f"predicted {found['predicted_gib']:.2f}, measured {found['measured_gib']:.2f} GiB"
        times = f"{found['seconds']} s, processor {found['processor_seconds']} s"
        print(f"{name}: {sizes} ({found['error']:+.0%}); {times}", flush=True)
        if arguments.record:
            with arguments.record.open("a") as file:
                file.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
