"""Going on from another RUN's weights with new data: what is taken over, and what that does to honest scores."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from decaseg.nets.members import own_name
from decaseg.nets.spec import style_of
from decaseg.planning.fingerprint import Fingerprint
from decaseg.planning.plan import Plan
from decaseg.recipes import UP_TO, Recipe, named
from decaseg.storage.files import read_json, sha256_of
from decaseg.storage.rundir import RunDir
from decaseg.storage.sealed import verify
from decaseg.storage.shipped import folder_of
from decaseg.training.distributed import Ranks
from decaseg.training.loop import State
from decaseg.training.warm_start import HEADS, Anchor, take_over

# With the style: what the other RUN settles.
NETWORK = ("base_filters", "finest_filters", "max_filters", "max_levels", "members")


@dataclass(frozen=True)
class Start:
    """A finished RUN whose weights another training begins with."""

    folder: RunDir
    plan: Plan

    def same_heads(self, plan: Plan) -> bool:
        """Whether the outputs mean the same structures in the same order."""
        return (plan.target.names, plan.target.kind) == (self.plan.target.names, self.plan.target.kind)

    def to_json(self, plan: Plan) -> dict[str, Any]:
        """For provenance: where the weights of a training by `plan` come from, and whether its heads do too."""
        return {
            "run": str(self.folder.root),
            "dataset": self.plan.dataset,
            "data_sha256": self.plan.data_sha256,
            "weights_sha256": sha256_of(self.folder.weights),
            "heads": "taken over" if self.same_heads(plan) else "fresh",
        }


def read_start(recipe: Recipe) -> Start | None:
    """The RUN of `--from`, None where there is no such wish; ValueError where it is no finished RUN."""
    if recipe.from_run is None:
        if recipe.start_share:
            raise ValueError(f"--set start_share={recipe.start_share:g}: there is no start; name it with --from RUN")
        return None
    path = Path(recipe.from_run)
    folder = RunDir(folder_of(path, run=True) or path)
    if not folder.is_run():
        raise ValueError(f"--from {folder.root}: holds no training; name a folder that decaseg train wrote")
    if not folder.weights.is_file():
        raise ValueError(f"--from {folder.root}: has no weights yet; finish it with decaseg train … --resume")
    start = Start(folder, Plan.from_json(read_json(folder.plan), str(folder.plan)))
    _read(start)  # damage is found before cases are prepared and a new RUN is begun
    return start


def recipe_of(recipe: Recipe, start: Start) -> Recipe:
    """The recipe with the other RUN's network; ValueError for a wish that the weights do not allow."""
    plain, network = named(recipe.name), start.plan.network
    finest, *coarser = network.filters
    base = max(finest, coarser[0] // 2 if coarser else 0)
    sizes = (base, finest if finest < base else None, max(network.filters), len(network.filters), network.members)
    settled = style_of(network) | dict(zip(NETWORK, sizes, strict=True))
    for name, value in settled.items():
        asked = getattr(recipe, name)
        allowed = asked == value or (name in UP_TO and asked > value)
        if asked != getattr(plain, name) and not allowed:
            raise ValueError(f"--from: its network has {name} {value}, not {asked}; leave that choice out")
    return replace(recipe, from_run=str(start.folder.root.resolve()), **settled)


def begin_with(state: State, start: Start, plan: Plan, share: float, ranks: Ranks) -> tuple[str, ...]:
    """Puts the other RUN's weights into a fresh state, on all ranks; says and returns which were left fresh.

    `share` is what they keep of those that the training ends with.

    The heads are taken over only if they mean the same structures in the same order.
    """
    leave = () if start.same_heads(plan) else (HEADS,)
    fresh = ranks.lead(lambda: take_over(state.model, _read(start), leave))
    ranks.same(state.model)
    if state.average is not None:
        for name, tensor in state.model.state_dict().items():
            state.average.values[name].copy_(tensor)
    if share:
        kept = {name: t.clone() for name, t in state.model.state_dict().items() if name not in fresh}
        state.anchor = Anchor(kept, share)
    before, now = start.plan.preprocessing.channels, plan.preprocessing.channels
    other = "" if before == now else f"; it saw {', '.join(before)}, this one sees {', '.join(now)}"
    left = f"all but {len(fresh)} ({', '.join(sorted({_part(name) for name in fresh}))})" if fresh else "all"
    if ranks.first:
        print(f"weights from {start.folder.root}: {left} taken over{other}", file=sys.stderr)
    return fresh


def seed_of_draws(seed: int, made: Mapping[str, Any]) -> int:
    """The seed of patches and augmentation, by a RUN's provenance: another for each start than the start's own.

    With one seed for both, going on would show the start's patches again, in their order.
    """
    return seed + int(made["start"]["weights_sha256"][:8], 16) if made.get("start") else seed


def seen_before(start: Start, fingerprint: Fingerprint, validation: Sequence[str]) -> int | None:
    """How many of the validation cases the other RUN was trained on, told by the content of their image files.

    An imported RUN has no fingerprint and knows cases by name at most; None where it does not know them.
    """
    trained, wanted = set(read_json(start.folder.splits)["train"]), set(validation)
    if not start.folder.fingerprint.is_file():
        return len(trained & wanted) if trained else None
    cases = read_json(start.folder.fingerprint)["cases"]
    images = {case["sha256"][:64] for case in cases if case["case"] in trained}
    return sum(case.sha256[:64] in images for case in fingerprint.cases if case.case in wanted)


def _read(start: Start) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        verify(start.folder.weights)
        weights: dict[str, Tensor] = load_file(start.folder.weights)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{start.folder.weights}: cannot be read ({error}); copy the run again") from None
    if not all(bool(torch.isfinite(t).all()) for t in weights.values() if t.is_floating_point()):
        raise ValueError(f"{start.folder.weights}: holds values that are not finite; start from another run")
    return weights


def _part(name: str) -> str:
    return own_name(name).split(".")[0]
