"""What mutants are put through: decaseg's loaders and commands, and the peers' loaders, each judged in one word."""

from __future__ import annotations

import contextlib
import io
import shutil
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from tests.mutants.geometry import Truth, apart, truth
from tests.mutants.judge import Bad, Unpack, json_parsers, judge, loader, said_of_header

from decaseg.cli import call

SHOWN_ELSEWHERE_VOXELS = 0.1  # beyond which another program shows another place, and `check` must say so
FAILURES = ("crash", "hang", "memory", "wrong geometry", "took damage", "traceback", "silent", "bad line")


def command(words: list[str]) -> tuple[int, str, str]:
    """A whole command in this process: exit code, standard output and error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = call(words)
    if "Traceback" in out.getvalue() + err.getvalue():
        raise Bad("traceback", err.getvalue()[-300:])
    if code not in (0, 1, 2):
        raise Bad("silent", f"exit code {code}")
    if code == 2:
        lines = err.getvalue().splitlines()
        if len(lines) != 1 or not lines[0].startswith("decaseg: "):
            raise Bad("bad line", err.getvalue()[-300:])
    return code, out.getvalue(), err.getvalue()


class Check:
    """`decaseg check` on a data set of three cases, the second of which is the mutant, as image or as label."""

    def __init__(self, dataset: Path) -> None:
        self.dataset, self.number = dataset, 0

    def __call__(self, path: Path, data: bytes) -> str:
        self.number += 1
        place = self.dataset / ("labelsTr" if self.number % 4 == 3 else "imagesTr") / "case_001.nii.gz"
        good = place.read_bytes()
        try:
            place.write_bytes(data)
            code, out, _ = command(["check", str(self.dataset), "--threads", "1"])
        finally:
            place.write_bytes(good)
        named = [line for line in out.splitlines() if place.name in line]
        known = truth(data)
        if code == 0 and not named and known is None:
            raise Bad("took damage", "check found nothing wrong with a damaged file")
        if known is not None and not named:
            as_others_show_it(data, known)
        return "problem named" if named else "clean"


def as_others_show_it(data: bytes, known: Truth) -> None:
    """Where ITK puts a file somewhere else than the standard says, `check` must have warned."""
    shown = itk_affine(data)
    if shown is not None and apart(known.affine, shown, known.shape) > SHOWN_ELSEWHERE_VOXELS:
        raise Bad("silent", f"ITK shows it at {shown.tolist()}, decaseg at {known.affine.tolist()}, unwarned")


def header_alone(path: Path, data: bytes) -> str:
    """The rules on headers without a label beside the image, whose own place would give the mutant's away."""
    said, known = said_of_header(path), truth(data)
    if known is not None and not said:
        as_others_show_it(data, known)
    return "problem named" if said else "clean"


@lru_cache(maxsize=1)
def itk_affine(data: bytes) -> np.ndarray | None:
    """Where SimpleITK puts the voxels, in RAS millimetres; None where it refuses the file."""
    import SimpleITK as sitk

    path = Path("itk.nii.gz" if data[:2] == b"\x1f\x8b" else "itk.nii")
    path.write_bytes(data)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return None
    return _itk(reader.GetSpacing(), reader.GetDirection(), reader.GetOrigin(), reader.GetDimension())


def _itk(spacing: Any, direction: Any, origin: Any, dimension: int) -> np.ndarray:
    affine = np.eye(4)
    turned = np.array(direction).reshape(dimension, dimension)[:3, :3]
    affine[: turned.shape[0], : turned.shape[1]] = turned * np.array(spacing)[:3]
    affine[: len(origin[:3]), 3] = origin[:3]
    return np.diag([-1.0, -1, 1, 1]) @ affine


class Predict:
    """`decaseg predict` with a small RUN; what it writes must lie where the standard says that the image does."""

    def __init__(self, run: Path, out: Path) -> None:
        self.run, self.out = run, out

    def __call__(self, path: Path, data: bytes) -> str:
        shutil.rmtree(self.out, ignore_errors=True)
        words = ["predict", str(self.run), str(path), "--out", str(self.out), "--threads", "1", "--device", "cpu"]
        code, _, _ = command(words)
        if code == 2:
            return "refused"
        known = truth(data)
        if known is None:
            raise Bad("took damage", "predicted from a damaged file")
        written = next(self.out.glob("*.nii.gz")).read_bytes()
        made = truth(written)
        if made is None or made.shape != known.shape or apart(known.affine, made.affine, known.shape) > 0.01:
            raise Bad("wrong geometry", f"{made} for {known}")
        return "predicted"


class CheckJson:
    """`decaseg check` on a data set whose dataset.json is the mutant."""

    def __init__(self, dataset: Path) -> None:
        self.dataset = dataset

    def __call__(self, path: Path, data: bytes) -> str:
        place = self.dataset / "dataset.json"
        good = place.read_bytes()
        try:
            place.write_bytes(data)
            code, out, _ = command(["check", str(self.dataset), "--threads", "1"])
        finally:
            place.write_bytes(good)
        return "refused" if code == 2 else "problem named" if out else "clean"


def by_nibabel(path: Path, data: bytes) -> str:
    def read() -> Any:
        image = nib.load(path)
        np.asanyarray(image.dataobj)
        return image

    return judge(read, data, lambda image: (image.shape, image.affine))


def by_simpleitk(path: Path, data: bytes) -> str:
    import SimpleITK as sitk

    def read() -> Any:
        image = sitk.ReadImage(str(path))
        sitk.GetArrayViewFromImage(image)
        return image

    def geometry(image: Any) -> tuple[Any, Any]:
        size = (*image.GetSize(), 1, 1)[:3]
        return size, _itk(image.GetSpacing(), image.GetDirection(), image.GetOrigin(), image.GetDimension())

    return judge(read, data, geometry)


def by_monai(path: Path, data: bytes) -> str:
    from monai.transforms import LoadImage

    image = LoadImage(image_only=True, ensure_channel_first=False)(path)
    return judge(lambda: image, data, lambda one: (one.shape, one.affine.numpy()))


EVERY = {"MONAI LoadImage": 10}  # it takes three times as long as all others together
PEERS = {"nibabel": by_nibabel, "SimpleITK": by_simpleitk, "MONAI LoadImage": by_monai}


def outcome(surface: Callable[[Path, bytes], str], path: Path, data: bytes, *, peer: bool) -> tuple[str, str]:
    """(word, detail) of one surface on one mutant; a peer's exception is its refusal, ours must be our own kind."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return surface(path, data), ""
    except Bad as bad:
        return bad.args[0], bad.args[1]
    except MemoryError as error:
        return "memory", repr(error)
    except Exception as error:
        return ("refused", "") if peer else ("crash", f"{type(error).__name__}: {error}"[:300])


__all__ = [
    "EVERY",
    "FAILURES",
    "PEERS",
    "Check",
    "CheckJson",
    "Predict",
    "Unpack",
    "header_alone",
    "json_parsers",
    "loader",
    "outcome",
]
