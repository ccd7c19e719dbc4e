"""Which cases train and which validate: seeded, by name, the same everywhere; what belongs together stays together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

FOLD_SEED = 12345  # the field's standard folds: scikit-learn's KFold(5, shuffle=True, random_state=12345)
Units = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Split:
    train: tuple[str, ...]
    val: tuple[str, ...]


@dataclass(frozen=True)
class Bond:
    """Cases that must not be parted, and why: `patient 12`, `the same image`."""

    why: str
    cases: tuple[str, ...]


def split_by_fraction(cases: Sequence[str], fraction: float, seed: int, bonds: Iterable[Bond] = ()) -> Split:
    """Puts `fraction` of the cases, drawn with `seed`, into validation: at least one, never all.

    Where cases are bound together the drawn ones are taken as long as that brings the share nearer to `fraction`.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"--val-fraction {fraction}: must be at least 0 and below 1")
    if fraction == 0:
        return Split(tuple(sorted(cases)), ())
    units = bound(cases, bonds)
    if len(units) < 2:
        together = "one case" if len(cases) < 2 else f"{len(cases)} cases of one group"
        raise ValueError(f"{together} cannot be split into training and validation; add cases or use --val-fraction 0")
    count = min(max(1, round(len(cases) * fraction)), len(cases) - 1)
    order = np.random.default_rng(seed).permutation(len(units))
    chosen: list[str] = []
    for place in order:
        unit = units[place]
        if abs(len(chosen) + len(unit) - count) < count - len(chosen) and len(chosen) + len(unit) < len(cases):
            chosen += unit
    return _split(cases, chosen or min((len(unit), unit) for unit in units)[1])


def split_by_fold(cases: Sequence[str], fold: int, folds: int = 5, bonds: Iterable[Bond] = ()) -> Split:
    """Fold `fold` of the field's standard 5 folds (nnU-Net, MONAI): KFold over sorted names, random_state 12345.

    The same as scikit-learn's `KFold(folds, shuffle=True, random_state=12345)`, which shuffles with numpy's legacy
    generator and cuts the order into runs. Where cases are bound together it is the KFold of what is bound, sorted by
    its first name.
    """
    units = bound(cases, bonds)
    if not 0 <= fold < folds:
        raise ValueError(f"--fold {fold}: choose 0 to {folds - 1}")
    if len(units) < folds:
        what = "cases" if len(units) == len(cases) else f"groups of the {len(cases)} cases"
        raise ValueError(f"--fold needs at least {folds} {what}, here are {len(units)}; use --val-fraction instead")
    order = np.arange(len(units))
    np.random.RandomState(FOLD_SEED).shuffle(order)
    return _split(cases, [case for place in np.array_split(order, folds)[fold] for case in units[place]])


def split_from(document: Any, cases: Iterable[str], fold: int | None, source: str) -> Split:
    """An explicit list: {"train": [...], "val": [...]}, or nnU-Net's splits_final.json, a list of those.

    ValueError, naming `source`, for another form, a list of several without a fold, names that are no cases, a case
    that stands twice, and a training without cases.
    """
    if isinstance(document, list):
        if fold is None and len(document) != 1:
            raise ValueError(f"{source}: holds {len(document)} folds; choose one with --fold 0 to {len(document) - 1}")
        if fold is not None and not 0 <= fold < len(document):
            raise ValueError(f"--fold {fold}: {source} holds folds 0 to {len(document) - 1}; choose one of those")
        document = document[fold or 0]
    elif fold is not None:
        raise ValueError(f"--fold {fold}: {source} holds one split, not several; leave --fold out")
    lists = [document.get(key) if isinstance(document, dict) else None for key in ("train", "val")]
    if not all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in lists):
        raise ValueError(f'{source}: is no split; write {{"train": ["case_1", …], "val": ["case_2", …]}}')
    train, val = ([name.removesuffix(".gz").removesuffix(".nii") for name in names or ()] for names in lists)
    known, seen = set(cases), dict[str, str]()
    for key, names in (("train", train), ("val", val)):
        for name in names:
            if name not in known:
                raise ValueError(f'{source}: "{key}" names {name}, which is no training case of the data set; mend it')
            if name in seen:
                where = f'both under "train" and under "{key}"' if seen[name] != key else f'twice under "{key}"'
                raise ValueError(f"{source}: case {name} stands {where}; keep one of the two")
            seen[name] = key
    if not train:
        raise ValueError(f'{source}: "train" is empty; name the cases to train on')
    return Split(tuple(sorted(train)), tuple(sorted(val)))


def groups_by_pattern(cases: Iterable[str], pattern: str) -> dict[str, str]:
    r"""Case -> group: what the pattern's first parentheses match in its name, or all that the pattern matches.

    >>> groups_by_pattern(["pat1_a", "pat1_b", "pat20_a"], r"(pat\d+)_")
    {'pat1_a': 'pat1', 'pat1_b': 'pat1', 'pat20_a': 'pat20'}
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"--group {pattern}: is no regular expression ({error}); e.g. --group '(\\w+)_\\d+'") from None
    found = {}
    for case in cases:
        match = compiled.search(case)
        name = (match[1] if compiled.groups else match[0]) if match else None
        if not name:
            raise ValueError(f"--group {pattern}: finds no group in the case {case}; mend the pattern or give a CSV")
        found[case] = name
    return found


def bonds_of(groups: Mapping[str, str], why: str) -> list[Bond]:
    """A bond for each group of several cases; `why` goes before the group's name."""
    members: dict[str, list[str]] = {}
    for case, group in groups.items():
        members.setdefault(group, []).append(case)
    return [Bond(f"{why}{group}", tuple(sorted(names))) for group, names in sorted(members.items()) if len(names) > 1]


def bound(cases: Iterable[str], bonds: Iterable[Bond]) -> Units:
    """The cases in parts that may be separated, each sorted, the parts by their first name.

    >>> bound("dcba", [Bond("", ("a", "c")), Bond("", ("c", "d"))])
    (('a', 'c', 'd'), ('b',))
    """
    part = {case: [case] for case in cases}
    for bond in bonds:
        for case in bond.cases[1:]:
            one, other = part[bond.cases[0]], part[case]
            if one is not other:
                one += other
                part.update(dict.fromkeys(other, one))
    return tuple(sorted({id(names): tuple(sorted(names)) for names in part.values()}.values()))


def refuse_leaks(split: Split, bonds: Iterable[Bond], source: str) -> None:
    """ValueError, naming two cases, where a bond has cases on both sides of an explicit split."""
    train, val = set(split.train), set(split.val)
    for bond in bonds:
        here, there = (next((case for case in bond.cases if case in side), None) for side in (train, val))
        if here and there:
            raise ValueError(
                f"{source}: {here} trains and {there} validates, but they are {bond.why}, which would flatter the "
                "scores; put both on one side"
            )


def _split(cases: Iterable[str], chosen: Iterable[str]) -> Split:
    val, names = set(chosen), sorted(cases)
    return Split(tuple(n for n in names if n not in val), tuple(n for n in names if n in val))
