"""Which files are the channels of one image: names as nnU-Net, BraTS and BIDS give them, or ending in a contrast."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from decaseg.storage import nifti
from decaseg.storage.channel_names import contrast, in_usual_order, same
from decaseg.storage.dataset import CaseFiles
from decaseg.storage.layouts import bids, brats, nnunet

WORD = re.compile(r"(?P<case>.+)[-_.](?P<what>[A-Za-z0-9]+)")
SKIPPED = (*brats.LABELS, *bids.LABELS)


@dataclass(frozen=True)
class Wanted:
    """The channels that images must bring: all that the model's files had, or those that it uses; and its numbers.

    `names` in the order in which an image must have them; `numbers` are their places among `of` channels.
    """

    names: tuple[str, ...]
    numbers: tuple[int, ...]
    of: int


@dataclass(frozen=True)
class Grouped:
    """The images, and in words how channels were matched: `FLAIR = t2f, …, by name`."""

    cases: tuple[CaseFiles, ...]
    said: tuple[str, ...]


def group(files: Iterable[Path], wanted: Wanted) -> Grouped:
    """The images that NIfTI files are or make together. Label maps beside them are passed over.

    Files whose names do not make a group are images by themselves. ValueError for a group that lacks a channel.
    """
    groups: dict[tuple[Path, str, bool], dict[str, Path]] = defaultdict(dict)
    cases, said = list[CaseFiles](), dict[str, None]()
    alone = []
    for path in files:
        parsed = _parsed(path)
        if parsed is None:
            alone.append(path)
            continue
        case, what, sure = parsed
        if what not in SKIPPED:
            groups[path.parent, case, sure][what] = path
    for (_, case, sure), members in groups.items():
        if not sure and len(members) == 1:  # only a name that happens to end so
            alone += members.values()
            continue
        counts = all(what.isdecimal() for what in members)
        if counts and not _are_channels(members, wanted):
            alone += members.values()
            continue
        if len(members) == 1 and len(wanted.names) > 1 and _channels(*members.values()) != 1:
            alone += members.values()
            continue
        if (chosen := _chosen(case, members, wanted, said)) is None:
            alone += members.values()
        else:
            cases.append(CaseFiles(case, chosen[0], None, tuple(chosen[1:])))
    cases += [CaseFiles(nifti.case_name(path), path, None) for path in alone]
    return Grouped(tuple(sorted(cases, key=lambda one: one.case)), tuple(said))


def _parsed(path: Path) -> tuple[str, str, bool] | None:
    """Case, channel, and whether the name can mean nothing else."""
    stem = nifti.case_name(path)
    if (found := brats.parsed(stem)) is not None:
        return (*found, True)
    if (named := bids.parsed(path)) is not None and (named.suffix in (*bids.IMAGES, *bids.LABELS)):
        return named.case, named.suffix if named.suffix in bids.LABELS else named.channel, True
    if (numbered := nnunet.numbered(stem)) is not None:
        return numbered[0], f"{numbered[1]:04d}", True
    if (word := WORD.fullmatch(stem)) is not None:
        what = word["what"].lower()
        if contrast(what) is not None or what in SKIPPED:
            return word["case"], what, False
    return None


def _chosen(case: str, members: Mapping[str, Path], wanted: Wanted, said: dict[str, None]) -> list[Path] | None:
    """The files of the wanted channels in their order; None where the files are images of their own."""
    if all(what.isdecimal() for what in members):
        return _by_number(case, members, wanted, said)
    found = [[what for what in members if same(what, name)] for name in wanted.names]
    if all(len(names) == 1 for names in found):
        chosen = [names[0] for names in found]
        pairs = ", ".join(f"{name} = {what}" for name, what in zip(wanted.names, chosen, strict=True))
        said[f"channels, by name: {pairs}"] = None
        return [members[what] for what in chosen]
    first = next(iter(members.values()))
    lacking = [name for name, names in zip(wanted.names, found, strict=True) if not names and contrast(name)]
    if lacking:
        has = ", ".join(members)
        raise ValueError(
            f"{first.parent}: case {case} has {has}, but the model needs {', '.join(lacking)}; add the file"
        )
    if len(wanted.names) == 1:
        return None  # a model of one channel whose name says nothing: every file is an image
    if len(members) != len(wanted.names):
        raise ValueError(
            f"{first.parent}: case {case} has {', '.join(members)}, but the model needs {len(wanted.names)} channels "
            f"({', '.join(wanted.names)}); give as many files"
        )
    order = in_usual_order(list(members))
    said[f"channels, by order: {', '.join(f'{n} = {w}' for n, w in zip(wanted.names, order, strict=True))}"] = None
    return [members[what] for what in order]


def _by_number(case: str, members: Mapping[str, Path], wanted: Wanted, said: dict[str, None]) -> list[Path]:
    """nnU-Net's numbers: those of the channels that the model uses, or all there are where it uses as many."""
    numbers: Sequence[str] = [f"{number:04d}" for number in wanted.numbers]
    if not set(numbers) <= set(members) and len(members) == len(numbers):
        numbers = sorted(members)
    if not set(numbers) <= set(members) or (len(members) > len(numbers) and len(members) != wanted.of):
        first = next(iter(members.values()))
        raise ValueError(
            f"{first.parent}: case {case} has the channels {', '.join(sorted(members))}, but the model was trained on "
            f"{wanted.of} and uses {', '.join(wanted.names)}; give those"
        )
    said[f"channels, by number: {', '.join(f'{n} = {w}' for n, w in zip(wanted.names, numbers, strict=True))}"] = None
    return [members[number] for number in numbers]


def _are_channels(members: Mapping[str, Path], wanted: Wanted) -> bool:
    """Do the numbers count channels? `patient_0001` to `patient_0100` count patients."""
    if any(int(what) >= wanted.of for what in members):
        return len(members) == len(wanted.names) > 1 and all(_channels(path) == 1 for path in members.values())
    return all(_channels(path) == 1 for path in members.values())


def _channels(path: Path) -> int:
    try:
        return nifti.read_grid(path)[1]
    except nifti.NiftiError:  # said when its turn has come
        return 0
