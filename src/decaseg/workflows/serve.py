"""`decaseg serve`: predictions over HTTP, from one model that is loaded once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from decaseg.inference.memory import ImageFacts, Networks, prediction_need
from decaseg.planning.memory import parameters
from decaseg.storage import nifti
from decaseg.storage.provenance import available_memory_gib
from decaseg.storage.shipped import folder_of
from decaseg.workflows.opening import Model, no_such_model, open_model

if TYPE_CHECKING:
    from decaseg.serving.worker import Loaded

USABLE_SHARE = 0.9  # of the memory that the machine has free


def run(
    model: Path,
    opening: Mapping[str, Any],
    place: tuple[str, int, Path | None, Path | None],
    limits: Mapping[str, Any],
    token_file: Path | None = None,
    allow_hosts: Sequence[str] = (),
    spool: Path | None = None,
) -> int:
    """Serves MODEL until it is told to stop: 0 after SIGTERM, 130 after Ctrl-C.

    `opening` are the arguments of `open_model`, `place` those of `Where` (host, port, certificate, key), `limits` those
    of `Limits`. ValueError names what keeps it from starting.
    """
    try:
        from decaseg.serving.access import make_access
        from decaseg.serving.limits import Limits
        from decaseg.serving.server import Where, serve
    except ImportError as error:
        raise ValueError(f"{error.name} is missing, serve needs it; install decaseg[serve]") from None

    where, allowed = Where(*place), Limits(**limits)
    access = make_access(where.host, token_file, allow_hosts)
    model = folder_of(model, run=opening.get("engine") == "torch") or model
    if not model.exists():
        raise ValueError(no_such_model(model))
    say = partial(print, flush=True)
    return serve(partial(load, model.resolve(), dict(opening)), where, access, allowed, spool, say)


def load(path: Path, opening: Mapping[str, Any]) -> Loaded:
    """Opens the model, in the process that predicts; ValueError where it cannot be used."""
    from decaseg.serving.worker import Loaded, ModelFacts

    opened = open_model(path, **opening)
    plan, predictor = opened.plan, opened.predictor
    networks = Networks(plan.network, parameters(plan.network), predictor.window, predictor.engine.name,
                        predictor.engine.precision, predictor.step, 1 + len(predictor.others))  # fmt: skip
    painted = plan.target.painted_names()
    facts = ModelFacts(
        name=re.sub(r"[^A-Za-z0-9._-]+", "-", opened.path.name).strip("-.") or "model",
        labels={name: value for value, name in painted.items()},
        structures=plan.target.predicted_sets,
        channels=predictor.preprocessing.channels,
        file_channels=predictor.preprocessing.file_channels,
        spacing_mm=predictor.preprocessing.spacing_mm,
        engine=predictor.engine.name,
        precision=predictor.engine.precision,
        parity=(opened.bundle or {}).get("parity"),
        selection=opened.selection(),
        warnings=_warnings(opened),
    )

    def need_gib(images: Sequence[Path]) -> float:
        grid, channels, size = nifti.read_facts(images[0])
        facts = ImageFacts(grid, channels * len(images), size)
        return prediction_need(facts, predictor.preprocessing, networks).peak_gib

    def free_gib() -> float | None:
        free = available_memory_gib()
        return None if free is None else free * USABLE_SHARE + resident_gib()

    description = "; ".join(f"{value} {name}" for value, name in painted.items())
    return Loaded(predictor, facts, f"decaseg: {description}", need_gib, free_gib)


def resident_gib() -> float:
    """What this process has already, which the estimate of a prediction's need counts too."""
    from decaseg.serving.metrics import resident_bytes

    return resident_bytes() / 2**30


def _warnings(opened: Model) -> list[str]:
    """Clients learn the model's name, not where it lies."""
    return [warning.replace(str(opened.path), opened.path.name) for warning in opened.warnings]
