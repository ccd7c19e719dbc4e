"""48 orientations, forms, units, scales and types of an asymmetric phantom: the anatomy stays where it is.

Every voxel's value says where in the patient it lies. Read, brought to RAS and predicted with a network that copies,
the phantom must come out voxel by voxel; so must the peers' own ways to RAS. Without any form in force NIfTI knows no
orientation, and the voxels must lie where method 1 puts them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from decaseg.data.normalise import Normalisation
from decaseg.data.preprocess import Preprocessing, to_ras
from decaseg.data.targets import make_target
from decaseg.inference.predictor import Predictor
from decaseg.storage import nifti
from tests.attacks.campaign import Attack, Bad
from tests.data.oriented import ORIENTATIONS, stored
from tests.mutants.geometry import apart, truth

SHAPE, SPACING_MM = (7, 9, 5), (1.0, 0.75, 2.5)
CODES = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 4), (4, 1)]  # qform's, sform's
UNITS = {"mm": 1.0, "unknown": 1.0, "micron": 1000.0, "meter": 0.001}
SCALES = [None, (2.0, -1000.0), (0.5, 3.0), (0.0, 7.0)]  # slope 0 means: none
TYPES = ["u1", "i2", ">i2", "u2", "i4", "f4", ">f4", "f8"]
COMBINATIONS = len(ORIENTATIONS) * len(CODES) * len(UNITS) * len(SCALES) * len(TYPES)
STRIDE = 10_007  # a prime: the first few hundred are spread over everything


def phantom() -> NDArray[np.int16]:
    """(1, X, Y, Z) in RAS: every plane of every axis, and every corner, told from every other."""
    x, y, z = np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij")
    grown = 3 * x + 29 * y + z * (x + 2 * y + 1)
    return (1 + grown % 251)[None].astype(np.int16)


PHANTOM = phantom()
Meant = NDArray[np.float64] | None


class Copying:
    """An engine that answers label 1 where the image is bright: what it is given comes back as it lies."""

    name, precision = "copying", "fp32"

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.stack([0 * windows[:, 0], windows[:, 0]], axis=1)


def write_combination(path: Path, index: int) -> NDArray[np.float64] | None:
    """Writes combination `index` of all; the affine that was meant, in mm, or None where no form is in force."""
    choices = (ORIENTATIONS, CODES, list(UNITS), SCALES, TYPES)
    picked: list[Any] = []
    index = index * STRIDE % COMBINATIONS
    for among in choices:
        index, place = divmod(index, len(among))
        picked.append(among[place])
    (order, signs), codes, unit, scale, dtype = picked
    volume = stored(PHANTOM, order, signs, SPACING_MM)
    length = UNITS[unit]
    affine = np.diag([length, length, length, 1.0]) @ volume.affine
    image = nib.Nifti1Image(volume.array[0].astype(dtype), affine)
    image.header.set_data_dtype(np.dtype(dtype))
    image.header.set_xyzt_units(unit)
    image.set_qform(affine, codes[0])
    image.set_sform(affine, codes[1])
    raw = bytearray(image.to_bytes())
    if scale:
        fields = np.frombuffer(raw, image.header.template_dtype.newbyteorder(image.header.endianness), 1)
        fields["scl_slope"], fields["scl_inter"] = scale
    path.write_bytes(raw)
    return volume.affine if any(codes) else None


def expected(path: Path) -> NDArray[np.float64]:
    """The phantom's values as the file scales them."""
    header = np.frombuffer(path.read_bytes(), nib.Nifti1Header.template_dtype, 1)[0]
    if header["sizeof_hdr"] != 348:
        header = np.frombuffer(path.read_bytes(), nib.Nifti1Header.template_dtype.newbyteorder(">"), 1)[0]
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    idle = not np.isfinite(slope) or slope == 0
    return PHANTOM[0].astype(np.float64) * (1 if idle else slope) + (0 if idle else inter)


def same(found: NDArray, right: NDArray, what: str) -> None:
    if not np.array_equal(np.sort(found, axis=None).astype(np.float64), np.sort(right, axis=None)):
        raise Bad("wrong values", f"{what}: {found.min()} to {found.max()} for {right.min()} to {right.max()}")
    if found.shape != right.shape or not np.array_equal(found.astype(np.float64), right):
        raise Bad("anatomy moved", f"{what}: {found.shape} for {right.shape}")


def by_decaseg(path: Path, meant: Meant) -> str:
    """Read, brought to RAS, predicted and written, judged by the witness and by the phantom."""
    volume, known = nifti.read(path), truth(path.read_bytes())
    # A quaternion of half a turn is known to single precision only: what was meant is the better witness.
    if known is None or apart(volume.affine, known.affine if meant is None else meant, known.shape) > 1e-3:
        raise Bad("wrong geometry", f"{volume.affine.tolist()} for {known if meant is None else meant}")
    if meant is not None:
        right = expected(path)
        same(to_ras(volume.array, volume.grid)[0], right, "to RAS")
    how = Preprocessing(("MRI",), (0,), 1, SPACING_MM, (Normalisation("zscore"),))
    if meant is None:  # method 1 puts the voxel sizes on the file's own axes
        how = Preprocessing(("MRI",), (0,), 1, volume.grid.spacing_mm, (Normalisation("zscore"),))
    labels = Predictor(Copying(), how, make_target("all", {1: "a"}), (8, 10, 6))(volume).labels
    wanted = (volume.array[0] > volume.array[0].mean(dtype=np.float64)).astype(np.uint8)
    out = path.with_name("labels.nii.gz")
    nifti.write(out, labels)
    written, where = nifti.read(out), truth(out.read_bytes())
    same(written.array[0], wanted, "the label map")
    if where is None or where.shape != known.shape or apart(where.affine, known.affine, known.shape) > 1e-3:
        raise Bad("wrong geometry", "the label map lies elsewhere than its image")
    return "exact"


def by_nibabel(path: Path, meant: Meant) -> str:
    image = nib.as_closest_canonical(nib.load(path))
    affine = np.asarray(image.affine)
    if meant is not None:
        same(np.asanyarray(image.dataobj), expected(path), "closest canonical")
    return _placed(affine, path, meant)


def by_monai(path: Path, meant: Meant) -> str:
    from monai.transforms import Compose, LoadImage, Orientation

    image = Compose([LoadImage(image_only=True, ensure_channel_first=True), Orientation("RAS", labels=None)])(path)
    if meant is not None:
        same(image.numpy()[0], expected(path), "Orientation RAS")
    return _placed(image.affine.numpy(), path, meant)


def by_simpleitk(path: Path, meant: Meant) -> str:
    import SimpleITK as sitk

    image = sitk.DICOMOrient(sitk.ReadImage(str(path)), "RAS")
    if meant is not None:
        same(sitk.GetArrayFromImage(image).T, expected(path), "DICOMOrient RAS")
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return _placed(np.diag([-1.0, -1, 1, 1]) @ affine, path, meant)


def _placed(affine: NDArray, path: Path, meant: Meant) -> str:
    """Is the first voxel in RAS at (10, -20, 30) mm, the steps as long as they are? Not asked without a form."""
    if meant is not None:
        right = np.diag([*SPACING_MM, 1.0])
        right[:3, 3] = 10, -20, 30
        if apart(affine, right, SHAPE) > 1e-3:
            raise Bad("wrong geometry", f"{affine.tolist()}")
    return "exact"


PEERS: dict[str, Callable[[Path, Meant], str]] = {
    "nibabel": by_nibabel,
    "SimpleITK": by_simpleitk,
    "MONAI": by_monai,
}


class Row:
    """One combination through all ways to RAS."""

    refusals = (nifti.NiftiError,)

    def __init__(self, folder: Path, peers: bool) -> None:
        self.folder, self.peers = folder, peers

    def __call__(self, index: int, rng: np.random.Generator) -> Iterator[Attack]:
        path = self.folder / "phantom.nii"
        meant = write_combination(path, index)
        size = path.stat().st_size
        yield Attack("decaseg", lambda: by_decaseg(path, meant), size)
        for name, way in PEERS.items() if self.peers else ():
            yield Attack(name, lambda way=way: way(path, meant), size, peer=True)


def spread(count: int) -> list[set[int]]:
    """For each choice, which of its values the first `count` combinations take: so that a test can ask for all."""
    sizes = [len(among) for among in (ORIENTATIONS, CODES, UNITS, SCALES, TYPES)]
    seen: list[set[int]] = [set() for _ in sizes]
    for index in itertools.islice(range(COMBINATIONS), count):
        index = index * STRIDE % COMBINATIONS
        for place, size in zip(seen, sizes, strict=True):
            index, value = divmod(index, size)
            place.add(value)
    return seen
