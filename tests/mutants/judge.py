"""What a loader made of a mutant: read, refused in one line, or wrong, as witnesses tell."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from decaseg.arguments import one_line as shown
from decaseg.data.splits import split_from
from decaseg.planning.checks import affines, forms, units
from decaseg.planning.checks.survey import Case, Header, Survey
from decaseg.planning.plan import Plan
from decaseg.recipes import Recipe
from decaseg.storage import archive, nifti
from decaseg.storage.dataset import CaseFiles, Dataset
from decaseg.storage.files import read_json
from decaseg.storage.layouts import read_dataset
from decaseg.storage.stream import Damaged
from tests.mutants.documents import extracted_by_tarfile
from tests.mutants.geometry import apart, truth

TOLERANCE_VOXELS = 1e-3  # float32 headers, float64 maths


class Bad(Exception):
    """A failure that is not an exception of the code under test."""


def one_line(text: str) -> str:
    """The refusal's form: one line; Bad where it is not."""
    if "Traceback" in text:
        raise Bad("traceback", text[-300:])
    if len(text.strip().splitlines()) != 1:
        raise Bad("bad line", text[:300])
    return "refused"


def judge(read: Callable[[], Any], data: bytes, geometry: Callable[[Any], tuple[Any, Any]]) -> str:
    """A loader's outcome on a file whose truth is known."""
    said = read()
    known = truth(data)
    if known is None:
        raise Bad("took damage", "read a file that is damaged or holds less than it claims")
    shape, affine = geometry(said)
    if tuple(shape)[:3] != known.shape or apart(np.asarray(affine), known.affine, known.shape) > TOLERANCE_VOXELS:
        raise Bad("wrong geometry", f"{tuple(shape)} {np.asarray(affine).tolist()} for {known}")
    return "read"


def loader(path: Path, data: bytes) -> str:
    """nifti.read; what read_grid and verify say must agree with it."""
    try:
        outcome = judge(lambda: nifti.read(path), data, lambda volume: (volume.shape, volume.affine))
    except nifti.NiftiError as error:
        with contextlib.suppress(nifti.NiftiError):
            nifti.verify(path)
            raise Bad("silent", f"verify took what read refused: {error}") from None
        return one_line(str(error))
    nifti.verify(path)
    grid, _ = nifti.read_grid(path)
    volume = nifti.read(path)
    if grid.shape != volume.shape or not np.array_equal(grid.affine, volume.affine):
        raise Bad("wrong geometry", "read_grid and read differ")
    return outcome


def said_of_header(path: Path) -> list[str]:
    """What `check` says of a header by itself, where no label that lies elsewhere says it too."""
    header = Header.read(path)
    if header.fault is not None:
        return [header.fault.fault]
    data = Dataset(path.parent, "one", ("MRI",), {0: "background", 1: "structure"}, (), ())
    survey = Survey(data, (Case(CaseFiles("m", path, None), (header,), None),), deep=True)
    return [problem.fault for rule in (affines, forms, units) for problem in rule.find(survey)]


def json_parsers(path: Path, data: bytes) -> str:
    """dataset.json, splits, recipe and plan: whatever the document is, each parser takes it or says one line."""
    taken = 0
    for parse in (
        lambda: read_dataset(path.parent),
        lambda: split_from(read_json(path), ["case_000", "case_001"], None, str(path)),
        lambda: Recipe.from_json(read_json(path), str(path)),
        lambda: Plan.from_json(read_json(path), str(path)),
    ):
        try:
            parse()
            taken += 1
        except ValueError as error:
            one_line(shown(error) or "")
    return "read" if taken else "refused"


class Unpack:
    """archive.unpack: nothing outside the folder, nothing but plain files, the very bytes that tarfile reads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, path: Path, data: bytes) -> str:
        around = self.folder / "around"
        shutil.rmtree(around, ignore_errors=True)
        around.mkdir(parents=True)
        try:
            archive.unpack(path, around / "target", lambda *_: None)
        except (archive.Hostile, Damaged) as error:
            self._nothing_outside(around)
            return one_line(str(error))
        self._nothing_outside(around)
        made = {p.relative_to(around / "target").as_posix(): p for p in (around / "target").rglob("*") if p.is_file()}
        witness = extracted_by_tarfile(data)
        for name, file in made.items():
            if witness is not None and name in witness and witness[name] != file.read_bytes():
                raise Bad("took damage", f"{name} differs from what tarfile reads")
        return "unpacked"

    def _nothing_outside(self, around: Path) -> None:
        if {p.name for p in around.iterdir()} - {"target"}:
            raise Bad("silent", "wrote outside of its folder")
        if any(p.is_symlink() for p in around.rglob("*")):
            raise Bad("silent", "made a link")
