"""A data set as a model knows it: channels and labels that bear the model's names, in the model's order and numbers.

Data sets number the same things differently: BraTS has edema as 2, the Decathlon as 1; BIDS orders no contrasts.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from decaseg.data.preprocess import Preprocessing
from decaseg.planning.plan import Plan
from decaseg.storage.channel_names import contrast, same
from decaseg.storage.dataset import CaseFiles, Dataset

IGNORED = 255  # where the model has a structure under the value that the data set ignores


def as_known(dataset: Dataset, plan: Plan) -> Dataset:
    """The data set with its channels and label values as the plan's model was trained; what was matched is said.

    Where names do not tell, order and numbers are taken as they are. ValueError where they tell that a channel is not
    there.
    """
    return _renumbered(_rearranged(dataset, plan.preprocessing), plan.labels)


def wanted_channels(how: Preprocessing) -> tuple[str, ...]:
    """The names that images for the model must bring: in the order of its files if it uses all, else those it uses."""
    if len(how.channels) < how.file_channels:
        return how.channels
    return tuple(name for _, name in sorted(zip(how.channel_indices, how.channels, strict=True)))


def places_of(wanted: Sequence[str], names: Sequence[str]) -> tuple[int, ...] | None:
    """Where each wanted channel is among `names`; None unless each is there once."""
    found = [[place for place, name in enumerate(names) if same(one, name)] for one in wanted]
    return tuple(places[0] for places in found) if all(len(places) == 1 for places in found) else None


def _rearranged(dataset: Dataset, how: Preprocessing) -> Dataset:
    wanted = wanted_channels(how)
    usual = tuple(range(len(wanted))) if len(wanted) == how.file_channels else how.channel_indices
    there = places_of(wanted, dataset.channels)
    if there is None:
        in_place = [
            (name, dataset.channels[i]) for name, i in zip(wanted, usual, strict=True) if i < len(dataset.channels)
        ]
        for name, found in in_place:
            if contrast(name) and contrast(found) and not same(name, found):
                raise ValueError(
                    f"{dataset.root}: has the channels {', '.join(dataset.channels)}, but the model needs {name}; "
                    "name a data set that has it"
                )
        return dataset
    if there == usual and len(dataset.channels) == how.file_channels:
        return dataset
    print(f"channels, by name: {', '.join(dataset.channels[place] for place in there)}", file=sys.stderr)
    return _with(dataset, lambda files: _taking(files, there), channels=wanted)


def _taking(files: CaseFiles, places: Sequence[int]) -> CaseFiles:
    if not files.more:
        return replace(files, take=tuple(places))
    first, *more = (files.images[place] for place in places)
    return replace(files, image=first, more=tuple(more))


def _renumbered(dataset: Dataset, labels: Mapping[int, str]) -> Dataset:
    known = {_plain(name): value for value, name in labels.items() if value}
    mine = {_plain(name): value for value, name in dataset.structures.items()}
    if set(known) != set(mine) or known == mine:
        return dataset
    values = {mine[name]: known[name] for name in mine if mine[name] != known[name]}
    ignore = dataset.ignore
    if ignore in known.values():
        assert ignore is not None
        values[ignore], ignore = IGNORED, IGNORED
    said = ", ".join(f"{value} {labels[other]} -> {other}" for value, other in values.items() if other in labels)
    print(f"labels, by name: {said}", file=sys.stderr)
    return _with(dataset, lambda files: replace(files, values=values), labels=dict(labels), ignore=ignore)


def _with(dataset: Dataset, change: Callable[[CaseFiles], CaseFiles], **facts: Any) -> Dataset:
    training, test = tuple(map(change, dataset.training)), tuple(map(change, dataset.test))
    return replace(dataset, training=training, test=test, **facts)


def _plain(name: str) -> str:
    """`Non-Enhancing Tumour` and `non_enhancing tumor` are one name."""
    return re.sub(r"[^a-z0-9]", "", name.lower()).replace("tumour", "tumor")
