"""Writes the mended copy of a data set that `decaseg check --fix` asks for; the original is only read."""

from __future__ import annotations

import re
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from decaseg.planning import check
from decaseg.planning.checks.problem import Problem, count
from decaseg.planning.checks.survey import Survey
from decaseg.planning.mending import LeftOut, Repair, mended, repairs
from decaseg.reporting.problems import SHOWN
from decaseg.storage import nifti
from decaseg.storage.dataset import Dataset
from decaseg.storage.files import read_json, write_json
from decaseg.storage.layouts import read_dataset
from decaseg.storage.lock import held
from decaseg.volume import Volume

ROUNDS = 3  # of checking the copy and leaving out what still has errors
SPARE = 1.05  # free space wanted, as a multiple of what the data set takes


@dataclass(frozen=True)
class Mended:
    """What the copy in `out` is like: its mended files and what was done to each, the cases it does not have.

    `copied`: files taken over as they were. `errors`: what its own check still finds, which is nothing if all is well.
    """

    out: Path
    cases: int
    copied: int
    files: Mapping[str, tuple[str, ...]]
    left_out: tuple[LeftOut, ...]
    errors: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Is every case there that could be, and the copy without errors?"""
        return not self.errors and not any(one.refused for one in self.left_out)

    def lines(self, everything: bool = False) -> Iterator[str]:
        """A line for each mended file (of those mended alike the first, unless `everything`) and case left out."""
        alike = Counter(words for words in self.files.values())
        shown: Counter[tuple[str, ...]] = Counter()
        for name, words in self.files.items():
            shown[words] += 1
            if everything or shown[words] <= SHOWN:
                yield f"{self.out / name}: mended: {'; '.join(words)}"
            if shown[words] == alike[words] > SHOWN and not everything:
                yield f"mended: and {alike[words] - SHOWN:,} more like these; --all or --json lists them"
        for one in self.left_out:
            yield f"{one.case}: {'refused' if one.refused else 'left out'}: {one.reason}"
        yield from self.errors

    def sentence(self) -> str:
        """How it went, in one line."""
        parts = [f"{count(self.cases, 'case')} in the mended copy", f"{count(len(self.files), 'file')} mended"]
        parts.append(f"{count(self.copied, 'file')} copied as they were")
        if self.left_out:
            parts.append(f"{count(len(self.left_out), 'case')} left out")
        verdict = f"it still has {count(len(self.errors), 'error')}" if self.errors else "its own check finds no errors"
        return f"{self.out}: {', '.join(parts)}; {verdict}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"out": str(self.out), "complete": self.complete}


def refuse_place(dataset: Path, out: Path) -> None:
    """ValueError where a mended copy cannot be put."""
    if out.is_symlink() or (out.exists() and not out.is_dir()) or (out.is_dir() and any(out.iterdir())):
        raise ValueError(f"--fix {out}: is there already; name a new folder")
    here, there = dataset.resolve(), out.resolve()
    if here == there or here in there.parents:
        raise ValueError(f"--fix {out}: lies in the data set, which is never changed; name a folder beside it")


def mend(survey: Survey, out: Path, threads: int | None, on_file: Callable[[int, int], None]) -> Mended:
    """Writes the copy: complete, checked, and there by one rename, or not at all.

    ValueError where nothing would be left of the data set or the disk is too small; OSError where the disk cannot.
    """
    root = survey.dataset.root
    if not (survey.lists_files and survey.description.is_file()):
        raise ValueError(
            f"--fix {out}: {root} has no dataset.json; only data sets in the Decathlon's layout are mended"
        )
    plan = repairs(survey)
    if not plan.kept:
        raise ValueError(f"--fix {out}: no case of {root} can be mended ({plan.left_out[0].reason}); see the problems")
    _need_space(survey, out)
    tests = tuple(case.files.image for case in survey.test if case.image_voxels is not None)
    jobs = [repair for files in plan.kept.values() for repair in files] + [Repair(file) for file in tests]
    with _beside(out) as work:
        with ThreadPoolExecutor(threads or 2) as pool:
            for done, _ in enumerate(pool.map(lambda repair: _write(root, work, repair), jobs), 1):
                on_file(done, len(jobs))
        extras = _extras(root, work)
        cases = list(plan.kept)
        left_out = list(plan.left_out)
        for _ in range(ROUNDS):
            changes = _describe(survey, work, cases, tests)
            errors, lost = _judge(work, cases, threads)
            left_out += lost
            cases = [name for name in cases if name not in {one.case for one in lost}]
            if not lost or not cases:
                break
        if not cases:
            raise ValueError(f"--fix {out}: no case of {root} can be mended ({left_out[-1].reason}); see the problems")
        kept = [repair for name in cases for repair in plan.kept[name]]
        mended_files = {str(r.file.relative_to(root)): r.words for r in kept if not r.copies}
        copied = sum(repair.copies for repair in kept) + len(tests) + extras
        _remove(root, work, [repair for name in plan.kept if name not in cases for repair in plan.kept[name]], kept)
        work.rename(out)
    if changes:
        mended_files["dataset.json"] = changes
    return Mended(out, len(cases), copied, mended_files, tuple(left_out), errors)


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """A folder to work in, which is gone afterwards unless it was renamed; leftovers of killed runs go too."""
    out.parent.mkdir(parents=True, exist_ok=True)
    pattern = re.compile(rf"\.{re.escape(out.name)}\.[0-9a-f]{{8}}\.tmp")
    for folder in out.parent.iterdir():
        if pattern.fullmatch(folder.name):
            with suppress(OSError), held(folder):  # an OSError where its writer lives
                shutil.rmtree(folder)
    work = out.parent / f".{out.name}.{secrets.token_hex(4)}.tmp"
    work.mkdir()
    try:
        with held(work):
            yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _write(root: Path, work: Path, repair: Repair) -> None:
    target = work / repair.file.relative_to(root)
    target.parent.mkdir(parents=True, exist_ok=True)
    if repair.copies:
        shutil.copyfile(repair.file, target)
        return
    volume = nifti.read(repair.file)
    array = mended(repair, volume.array)
    nifti.write(target, Volume(array, repair.grid if repair.grid is not None else volume.grid))


def _extras(root: Path, work: Path) -> int:
    """Copies what lies beside dataset.json, such as a licence; returns how many files."""
    found = [path for path in root.iterdir() if path.is_file() and path.name != "dataset.json"]
    for path in found:
        shutil.copyfile(path, work / path.name)
    return len(found)


def _describe(survey: Survey, work: Path, cases: list[str], tests: tuple[Path, ...]) -> tuple[str, ...]:
    """Writes dataset.json for these cases; returns what was changed in it, in words."""
    dataset, words = survey.dataset, []
    old = read_json(survey.description)
    files = [dataset.case(name) for name in cases]
    training = [{"image": _named(dataset, f.image), "label": _named(dataset, f.label)} for f in files if f.label]
    listed = [_named(dataset, file) for file in tests]
    occurring = {0}
    for case in survey.training:
        if case.name in cases and case.label_voxels is not None and case.label_voxels.counts is not None:
            occurring |= set(case.label_voxels.counts)
            occurring |= set(dataset.labels) if case.label_voxels.fractions else set()  # rounded: anything may be there
    gone = [f'"{value}": "{name}"' for value, name in dataset.labels.items() if value not in occurring]
    labels = {str(value): name for value, name in dataset.labels.items() if value in occurring}
    if gone:
        words.append(f"took out {', '.join(gone)}, which occurs in no label")
    new = old | {"labels": labels, "training": training, "test": listed}
    new |= {"numTraining": len(training), "numTest": len(listed)}
    for key, what in (("training", "training cases"), ("test", "test images")):
        there, here = len(old.get(key) or ()), len(new[key])
        if there != here:
            words.append(f"lists {here} {what} instead of {there}")
    counts = [key for key in ("numTraining", "numTest") if old.get(key) != new[key]]
    words += [f"says {key} {new[key]} instead of {old.get(key, 'nothing')}" for key in counts]
    if any(path != _plain(path) for path in _paths(old)):
        words.append("wrote paths with /")
    write_json(work / "dataset.json", new)
    return tuple(words)


def _named(dataset: Dataset, file: Path | None) -> str:
    assert file is not None
    return f"./{file.relative_to(dataset.root).as_posix()}"


def _paths(document: Mapping[str, Any]) -> Iterator[str]:
    for entry in [*(document.get("training") or ()), *(document.get("test") or ())]:
        yield from (entry.values() if isinstance(entry, dict) else (entry,))


def _plain(path: str) -> str:
    return path.replace("\\", "/")


def _judge(work: Path, cases: list[str], threads: int | None) -> tuple[tuple[str, ...], list[LeftOut]]:
    """The check's errors about the copy that belong to no case, and the cases that still have some."""
    copy = read_dataset(work)
    found = [problem for problem in check.problems(copy, threads) if problem.severity == "error"]
    owners = {file: case.case for case in copy.training for file in (case.image, case.label)}
    lost: dict[str, Problem] = {}
    for problem in found:
        if (name := owners.get(problem.file)) is not None:
            lost.setdefault(name, problem)
    others = tuple(str(replace(p, file=Path(p.file.name))) for p in found if p.file not in owners)
    reasons = [LeftOut(name, f"{problem.file.name} {problem.fault}") for name, problem in lost.items() if name in cases]
    return others, reasons


def _remove(root: Path, work: Path, unwanted: list[Repair], kept: list[Repair]) -> None:
    wanted = {repair.file for repair in kept}
    for repair in unwanted:
        if repair.file not in wanted:
            (work / repair.file.relative_to(root)).unlink(missing_ok=True)


def _need_space(survey: Survey, out: Path) -> None:
    files = {header.file for case in (*survey.training, *survey.test) for header in case.headers}
    needed = SPARE * sum(file.stat().st_size for file in files if file.is_file())
    there = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise ValueError(
            f"--fix {out}: needs {needed / 1e9:.1f} GB, but {free / 1e9:.1f} GB are free there; name another disk"
        )
