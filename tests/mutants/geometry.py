"""An independent reader of NIfTI geometry: straight from the standard's text, with nothing but struct and numpy.

It says where a header puts voxel (i, j, k), in millimetres, and whether the file holds what its header claims. Written
after nifti1.h (methods 1 to 3), not after nibabel or the code under test.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

MILLIMETRES = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
BITS = {2: 8, 4: 16, 8: 32, 16: 32, 64: 64, 256: 8, 512: 16, 768: 32, 1024: 64, 1280: 64}  # whole numbers and floats


@dataclass(frozen=True)
class Truth:
    """What a header says: size of each axis, channels, and voxel indices to millimetres."""

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]


def inflated(data: bytes) -> bytes | None:
    """The bytes of a .nii or .nii.gz, None where gzip's own checks fail (Python's gzip module)."""
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return None


@lru_cache(maxsize=1)  # one input goes through many surfaces
def truth(data: bytes) -> Truth | None:
    """Geometry of a sound file; None where it is damaged, or holds fewer voxels than its header claims."""
    plain = inflated(data)
    if plain is None or len(plain) < 348:
        return None
    sign = "<" if struct.unpack_from("<i", plain)[0] in (348, 540) else ">"
    size = struct.unpack_from(f"{sign}i", plain)[0]
    if size == 348:
        dim = struct.unpack_from(f"{sign}8h", plain, 40)
        (kind,), pixdim = struct.unpack_from(f"{sign}h", plain, 70), struct.unpack_from(f"{sign}8f", plain, 76)
        (offset,), units = struct.unpack_from(f"{sign}f", plain, 108), plain[123]
        qcode, scode = struct.unpack_from(f"{sign}2h", plain, 252)
        numbers = struct.unpack_from(f"{sign}18f", plain, 256)
    elif size == 540 and len(plain) >= 540:
        dim = struct.unpack_from(f"{sign}8q", plain, 16)
        (kind,), pixdim = struct.unpack_from(f"{sign}h", plain, 12), struct.unpack_from(f"{sign}8d", plain, 104)
        (offset,) = struct.unpack_from(f"{sign}q", plain, 168)
        qcode, scode = struct.unpack_from(f"{sign}2i", plain, 344)
        numbers = struct.unpack_from(f"{sign}18d", plain, 352)
        (units,) = struct.unpack_from(f"{sign}i", plain, 500)
    else:
        return None
    if not _has_magic(plain, size):
        return None
    if not 1 <= dim[0] <= 7 or kind not in BITS or units & 7 not in MILLIMETRES or not np.isfinite(offset):
        return None
    used = [int(n) for n in dim[1 : dim[0] + 1]]
    if min(used) < 1 or len(plain) < offset + int(np.prod([float(n) for n in used])) * BITS[kind] // 8:
        return None
    shape = (*used, 1, 1)[:3]
    affine = _affine(scode, qcode, numbers, pixdim)
    return Truth((shape[0], shape[1], shape[2]), affine * np.array([[MILLIMETRES[units & 7]]] * 3 + [[1.0]]))


def _has_magic(plain: bytes, size: int) -> bool:
    """Does it say that it is NIfTI, with its voxels in the same file? NIfTI-2 may leave out what shows text mode."""
    if size == 348:
        return plain[344:348] == b"n+1\0"
    return plain[4:8] == b"n+2\0" and plain[8:12] in (b"\r\n\x1a\n", bytes(4))


def _affine(scode: int, qcode: int, numbers: tuple[float, ...], pixdim: tuple[float, ...]) -> NDArray[np.float64]:
    """Method 3 where sform_code > 0, else method 2 where qform_code > 0, else method 1."""
    affine = np.eye(4)
    if scode > 0:
        affine[:3] = np.array(numbers[6:]).reshape(3, 4)
        return affine
    if qcode <= 0:
        affine[[0, 1, 2], [0, 1, 2]] = [abs(mm) or 1.0 for mm in pixdim[1:4]]
        return affine
    b, c, d = numbers[:3]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        a, length = np.float64(1.0 - (b * b + c * c + d * d)), np.sqrt(np.float64(b * b + c * c + d * d))
        if a < 1e-7:  # a half turn but for rounding: the standard's own code, nifti_quatern_to_mat44, takes it as one
            a, b, c, d = np.float64(0.0), b / length, c / length, d / length
        a = np.sqrt(a)
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * b * c - 2 * a * d, 2 * b * d + 2 * a * c],
            [2 * b * c + 2 * a * d, a * a + c * c - b * b - d * d, 2 * c * d - 2 * a * b],
            [2 * b * d - 2 * a * c, 2 * c * d + 2 * a * b, a * a + d * d - c * c - b * b],
        ]
    )
    steps = np.array(pixdim[1:4]) * [1, 1, -1.0 if pixdim[0] < 0 else 1.0]
    affine[:3, :3] = rotation * steps
    affine[:3, 3] = numbers[3:6]
    return affine


def apart(one: NDArray, other: NDArray, shape: tuple[int, int, int]) -> float:
    """How many voxels (of the finer axis) two affines put a corner apart, at most; infinite where one is not finite."""
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        return float("inf")
    ends = [(0, n - 1) for n in shape]
    corners = np.array([(x, y, z, 1) for x in ends[0] for y in ends[1] for z in ends[2]], dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        distance = np.linalg.norm((corners @ (one - other).T)[:, :3], axis=1).max()
    return float(distance / max(1e-300, np.linalg.norm(one[:3, :3], axis=0).min()))
