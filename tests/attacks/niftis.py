"""Mutated NIfTI and gzip through `nifti.read`, `read_grid`, `slabs` and `verify`, beside nibabel, SimpleITK and MONAI.

Witnesses: geometry from the standard's text, gzip by Python's own module (`tests.mutants.geometry`), and voxels from
the plain bytes with nothing but numpy. What is read must be whole, in its place, and hold those very values.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decaseg.storage import nifti
from decaseg.volume import Volume
from tests.attacks.campaign import Attack, Bad
from tests.mutants import nifti as mutants
from tests.mutants.geometry import MILLIMETRES, Truth, apart, inflated, truth
from tests.serving import mutants as uploads

TOLERANCE_VOXELS = 1e-3  # float32 headers, float64 maths
HALF_TURN = 1e-7  # where a * a is less, the standard's own code (nifti1_io.c) takes a = 0 and b, c, d of length 1
TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
OF_GZIP = {name: uploads.MUTATIONS[name] for name in ("truncated", "bits_flipped", "trailing", "spliced", "noise")}


def bases(folder: Path) -> list[bytes]:
    """Plain bytes of small images: integers, floats, a label map, four channels."""
    rng = np.random.default_rng(5)
    affine = np.array([[0, -1.1, 0, 12.5], [0.9, 0, 0, -7], [0, 0, 1.3, 3], [0, 0, 0, 1.0]])
    arrays = {
        "int16": rng.integers(-1000, 3000, (9, 7, 11)).astype(np.int16),
        "float32": rng.normal(size=(6, 8, 5)).astype(np.float32),
        "labels": rng.integers(0, 4, (12, 10, 8)).astype(np.uint8),
        "channels": rng.integers(0, 255, (4, 6, 5, 7)).astype(np.uint16),
    }
    for name, array in arrays.items():
        nifti.write(folder / f"{name}.nii", Volume.of(array, affine))
    return [(folder / f"{name}.nii").read_bytes() for name in arrays]


def mutant(plains: list[bytes], index: int, rng: np.random.Generator) -> bytes:
    """Mutant `index`: 55 bytes that claim gigabytes, raw damage to gzip, or damage that knows NIfTI's structure."""
    plain = plains[int(rng.integers(0, len(plains)))]
    if index % 50 == 49:
        return _claims(plain, rng)
    if index % 10 == 9:
        names = list(OF_GZIP)
        return OF_GZIP[names[int(rng.integers(0, len(names)))]](mutants.deflated(plain, rng), rng)
    name, data = mutants.mutant(plain, rng)
    while name in mutants.RARE and index % 5:  # bombs take a second each, most of it to make and to inflate here
        name, data = mutants.mutant(plain, rng)
    return data


def _claims(plain: bytes, rng: np.random.Generator) -> bytes:
    """A header alone that claims up to 70 TB, packed to some 55 bytes or more."""
    header = bytearray(plain[:352])
    struct.pack_into("<4h", header, 40, 3, *(int(n) for n in rng.choice([512, 3000, 32767], 3)))
    if rng.random() < 0.5:
        header[148:228] = bytes(80)
    return mutants.deflated(bytes(header), rng)


def witnessed(data: bytes) -> tuple[Truth | None, NDArray | None]:
    """What a sound file says and holds; None and None where it is damaged."""
    plain = inflated(data)
    known = None if plain is None else _half_turned(plain, truth(plain))
    right = None if plain is None or known is None else values(plain)
    return (None, None) if right is None else (known, right)


def _half_turned(plain: bytes, known: Truth | None) -> Truth | None:
    """The same, but for a quaternion of half a turn, which is taken as the standard's own code does."""
    if known is None:
        return None
    sign = "<" if struct.unpack_from("<i", plain)[0] in (348, 540) else ">"
    codes, sizes, numbers, units = {
        348: ((252, "2h"), (76, "4f"), (256, "6f"), (123, "B")),
        540: ((344, "2i"), (104, "4d"), (352, "6d"), (500, "i")),
    }[struct.unpack_from(f"{sign}i", plain)[0]]
    qcode, scode = struct.unpack_from(sign + codes[1], plain, codes[0])
    read = np.array(struct.unpack_from(sign + numbers[1], plain, numbers[0]), np.float64)
    squared = float(read[:3] @ read[:3])
    if scode > 0 or qcode <= 0 or not 1 - squared < HALF_TURN or not np.isfinite(squared):
        return known
    b, c, d = read[:3] / np.sqrt(squared)
    pixdim = struct.unpack_from(sign + sizes[1], plain, sizes[0])
    turn = 2 * np.outer((b, c, d), (b, c, d)) - np.eye(3)  # with a = 0
    affine = known.affine.copy()
    millimetres = MILLIMETRES[struct.unpack_from(sign + units[1], plain, units[0])[0] & 7]
    affine[:3, :3] = turn * np.array(pixdim[1:]) * [1, 1, -1.0 if pixdim[0] < 0 else 1.0] * millimetres
    return Truth(known.shape, affine)


def values(plain: bytes) -> NDArray | None:
    """The voxels of a sound file, without gzip, in its own order and (x, y, z, …) shape, scaled; None: none there."""
    sign = "<" if struct.unpack_from("<i", plain)[0] in (348, 540) else ">"
    if struct.unpack_from(f"{sign}i", plain)[0] == 348:
        dim, (kind,) = struct.unpack_from(f"{sign}8h", plain, 40), struct.unpack_from(f"{sign}h", plain, 70)
        offset, slope, inter = struct.unpack_from(f"{sign}3f", plain, 108)
    else:
        dim, (kind,) = struct.unpack_from(f"{sign}8q", plain, 16), struct.unpack_from(f"{sign}h", plain, 12)
        offset, slope, inter = struct.unpack_from(f"{sign}q2d", plain, 168)
    shape = [int(n) for n in dim[1 : dim[0] + 1]]
    if offset < 0:
        return None
    flat = np.frombuffer(plain, np.dtype(sign + TYPES[kind]), int(np.prod(shape)), int(offset))
    if np.isfinite(slope) and slope != 0 and (slope, inter) != (1, 0):
        with np.errstate(over="ignore", invalid="ignore"):
            flat = (flat.astype(np.float64) * slope + inter).astype(np.float32)
    return flat.reshape(shape, order="F")


def same_values(one: NDArray, other: NDArray) -> bool:
    """The same numbers, NaN included, whatever the type and the axes of length 1."""
    one, other = np.squeeze(one), np.squeeze(other)
    return one.shape == other.shape and bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f"))


def judged(known: Truth | None, right: NDArray | None, shape: Any, affine: NDArray, array: NDArray) -> str:
    """Bad unless the file is sound and was read as the witnesses read it."""
    if known is None or right is None:
        raise Bad("took damage", "read a file that is damaged or holds less than it claims")
    if tuple(shape)[:3] != known.shape or apart(affine, known.affine, known.shape) > TOLERANCE_VOXELS:
        raise Bad("wrong geometry", f"{tuple(shape)} {affine.tolist()} for {known}")
    if not same_values(array, right):
        raise Bad("wrong values", f"{array.shape} {array.dtype} for {right.shape} {right.dtype}")
    return "read"


def by_decaseg(path: Path, known: Truth | None, right: NDArray | None) -> str:
    """`read`; `verify` and `slabs` must say the same, and `read_grid` what the header says."""
    try:
        volume = nifti.read(path)
    except nifti.NiftiError as error:
        if "of memory" in error.fault:
            raise Bad("memory", str(error)) from None
        for other in (nifti.verify, lambda path: list(nifti.slabs(path))):
            with suppress(nifti.NiftiError):
                other(path)
                raise Bad("silent", f"verify or slabs take what read refused: {error}") from None
        raise
    nifti.verify(path)
    grid, channels = nifti.read_grid(path)
    if (channels, *grid.shape) != volume.array.shape or not np.array_equal(grid.affine, volume.affine):
        raise Bad("wrong geometry", "read_grid and read differ")
    seen = 0
    for channel, z, slab in nifti.slabs(path):
        if not same_values(slab, volume.array[channel, :, :, z : z + slab.shape[2]]):
            raise Bad("wrong values", "slabs and read differ")
        seen += slab.size
    if seen != volume.array.size:
        raise Bad("wrong values", f"slabs give {seen} of {volume.array.size} voxels")
    # The file's axes are (x, y, z, channel), the volume's (channel, x, y, z).
    return judged(known, right, volume.shape, volume.affine, np.moveaxis(volume.array, 0, -1))


def by_nibabel(path: Path, known: Truth | None, right: NDArray | None) -> str:
    import nibabel as nib

    image = nib.load(path)
    array = np.asanyarray(image.dataobj)
    if right is not None and array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            array = array.astype(np.float32) if right.dtype == np.float32 else array
    return judged(known, right, image.shape, np.asarray(image.affine), array)


def by_simpleitk(path: Path, known: Truth | None, right: NDArray | None) -> str:
    import SimpleITK as sitk

    image = sitk.ReadImage(str(path))
    size, dimension = (*image.GetSize(), 1, 1)[:3], image.GetDimension()
    turned = np.array(image.GetDirection()).reshape(dimension, dimension)[:3, :3]
    affine = np.eye(4)
    affine[: len(turned), : len(turned)] = turned * np.array(image.GetSpacing())[:3]
    affine[: len(image.GetOrigin()[:3]), 3] = image.GetOrigin()[:3]
    affine = np.diag([-1.0, -1, 1, 1]) @ affine
    array = sitk.GetArrayViewFromImage(image)
    if image.GetNumberOfComponentsPerPixel() > 1:
        array = np.moveaxis(array, -1, 0)
    array = array.T  # ITK's arrays run the other way: (channel, z, y, x)
    if right is not None and right.dtype == np.float32 and array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
    return judged(known, right, size, affine, array)


def by_monai(path: Path, known: Truth | None, right: NDArray | None) -> str:
    from monai.transforms import LoadImage

    image = LoadImage(image_only=True, ensure_channel_first=False)(path)
    array = image.numpy()
    if right is not None:  # MONAI's are float32, always
        with np.errstate(over="ignore"):
            right = right.astype(array.dtype)
    return judged(known, right, image.shape, image.affine.numpy(), array)


Reader = Callable[[Path, Truth | None, NDArray | None], str]
PEERS: dict[str, tuple[Reader, int]] = {  # and of how many inputs each takes one: MONAI takes the longest
    "nibabel": (by_nibabel, 1),
    "SimpleITK": (by_simpleitk, 1),
    "MONAI LoadImage": (by_monai, 10),
}


class Row:
    """One mutant through all readers."""

    refusals = (nifti.NiftiError,)

    def __init__(self, folder: Path, peers: bool) -> None:
        self.folder, self.peers = folder, peers
        self.bases = bases(folder)

    def __call__(self, index: int, rng: np.random.Generator) -> Iterator[Attack]:
        data = mutant(self.bases, index, rng) if index else mutants.deflated(self.bases[0], rng)
        path = self.folder / ("m.nii.gz" if data[:2] == b"\x1f\x8b" or index % 3 else "m.nii")
        path.write_bytes(data)
        known, right = witnessed(data)
        yield Attack("decaseg", lambda: by_decaseg(path, known, right), len(data))
        for name, (read, every) in PEERS.items() if self.peers else ():
            if index % every == 0:
                yield Attack(name, lambda read=read: read(path, known, right), len(data), peer=True)
        path.unlink()
