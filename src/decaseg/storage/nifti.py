"""The one door to NIfTI files: reads strictly, writes completely.

nibabel parses the headers; the bytes are read here, because a reader that stops at the last voxel never sees the
gzip checksum, and one that trusts the header allocates what 55 bytes claim.
"""

from __future__ import annotations

import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decaseg.geometry import Int3, int3
from decaseg.storage.files import replacing
from decaseg.storage.nifti_error import NiftiError as NiftiError  # other modules know it by this one
from decaseg.storage.nifti_place import grid_of, set_place
from decaseg.storage.stream import Damaged, Stream
from decaseg.volume import Grid, Volume

# nibabel imports pydicom where it is installed, and that Pillow: a third of a second that NIfTI files do not need.
_no_pydicom = sys.modules.setdefault("pydicom", None) is None  # type: ignore[arg-type]
import nibabel as nib  # noqa: E402

if _no_pydicom:
    del sys.modules["pydicom"]

SUFFIXES = (".nii.gz", ".nii")
MAX_DEFLATE_RATIO = 1032  # zlib's own bound: no stream grows more, so a larger claim is a lie
MAX_TRAILING_BYTES = 64 * 1024  # some writers pad; more than that is another file's data
MAX_CHANNELS = 4096  # `check` measures each; more are a time series, or a header that lies
PIECE_BYTES = 1 << 22  # what is written at a time
AGAIN = "copy or download it again"


def is_nifti(path: Path) -> bool:
    """Is it named like a NIfTI file? Hidden ones are not: macOS' `._x.nii.gz`, and what a killed writer left."""
    return path.name.endswith(SUFFIXES) and not path.name.startswith(".")


def case_name(path: Path) -> str:
    """`folder/BRATS_001.nii.gz` -> `BRATS_001`."""
    for suffix in SUFFIXES:
        if path.name.endswith(suffix):
            return path.name[: -len(suffix)]
    return path.name


def read_grid(path: Path) -> tuple[Grid, int]:
    """Grid and number of channels, from the header alone: a truncated file may still have them."""
    with _opened(path) as stream:
        header = _header(path, stream)
    shape, channels = _dimensions(path, header)
    return grid_of(path, header, shape), channels


def read_facts(path: Path) -> tuple[Grid, int, int]:
    """Grid, number of channels and bytes a voxel of what `read` would give, from the header alone."""
    with _opened(path) as stream:
        header = _header(path, stream)
    shape, channels = _dimensions(path, header)
    try:
        size = int(header.get_data_dtype().itemsize)
    except Exception:  # a type that `read` refuses
        size = 4
    slope = float(header["scl_slope"])
    return grid_of(path, header, shape), channels, 4 if _scales(slope, float(header["scl_inter"])) else size


def read(path: Path | str) -> Volume:
    """The volume as (C, X, Y, Z), in the file's own type or float32 where the file scales its values.

    NIfTI's 4th (or 5th) axis becomes C. The array is writable and lies in the file's own order (x fastest). The
    whole stream is read, so truncation and a wrong gzip checksum are found. Memory: the array, at most twice.
    Raises NiftiError, naming the file, for everything that is wrong with it.
    """
    path = Path(path)
    with _opened(path) as stream:
        header = _header(path, stream)
        shape, channels = _dimensions(path, header)
        grid = grid_of(path, header, shape)
        array = _voxels(path, stream, header, shape, channels)
    return Volume(_scaled(path, array, float(header["scl_slope"]), float(header["scl_inter"])), grid)


def slabs(path: Path) -> Iterator[tuple[int, int, NDArray]]:
    """The volume in pieces of whole slices, in the file's order: channel, first z, (X, Y, depth) array.

    What `read` would give, in a few megabytes however large the file is. Raises NiftiError for all that `read` refuses,
    some of it (truncation, a wrong gzip checksum) only after the last piece: nothing is sure before that.
    """
    with _opened(path) as stream:
        header = _header(path, stream)
        shape, channels = _dimensions(path, header)
        grid_of(path, header, shape)
        dtype, size = _layout(path, stream, header, shape, channels)
        slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
        _refuse_scale(path, slope, inter)
        slice_bytes, found = shape[0] * shape[1] * int(dtype.itemsize), 0
        depth = max(1, PIECE_BYTES // slice_bytes)
        for channel in range(channels):
            for z in range(0, shape[2], depth):
                count = min(depth, shape[2] - z)
                data = np.empty(count * slice_bytes, np.uint8)
                found += stream.fill(data)
                if found % slice_bytes or found < (channel * shape[2] + z + count) * slice_bytes:
                    _whole(path, stream, size, found)
                flat: NDArray = data.view(dtype)
                if not dtype.isnative:
                    flat = flat.byteswap(inplace=True).view(dtype.newbyteorder("="))
                slab = flat.reshape((1, count, shape[1], shape[0])).transpose(0, 3, 2, 1)
                yield channel, z, _scaled(path, slab, slope, inter)[0]
        _whole(path, stream, size, found)


def verify(path: Path) -> None:
    """Reads the file to its end, keeping nothing: NiftiError for all that `read` would refuse, in a few megabytes."""
    with _opened(path) as stream:
        header = _header(path, stream)
        shape, channels = _dimensions(path, header)
        grid_of(path, header, shape)
        (_, size), found = _layout(path, stream, header, shape, channels), 0
        buffer = np.empty(min(size, PIECE_BYTES), np.uint8)
        while found < size and (count := stream.fill(buffer[: size - found])):
            found += count
        _whole(path, stream, size, found)
        _refuse_scale(path, float(header["scl_slope"]), float(header["scl_inter"]))


def write(path: Path | str, volume: Volume, description: str = "decaseg") -> None:
    """Writes the array on its grid, with the grid's own affine, qform, sform, codes and units.

    The file is complete or absent (or the old one). bool becomes uint8; float16 becomes float32; int64 and uint64,
    which other programs often cannot read, become int32. Forms that no longer agree with the grid's affine (the
    grid was made from another by replacing its affine) are written anew from the affine. Raises ValueError for
    values or names that NIfTI cannot hold, OSError where the disk cannot.
    """
    path = Path(path)
    if not path.name.endswith(SUFFIXES):
        raise ValueError(f"{path}: is not named .nii or .nii.gz; give it such a name")
    array = _storable(path, volume.array)
    channels, shape = array.shape[0], array.shape[1:]
    dims = shape if channels == 1 else (*shape, channels)  # (C, X, Y, Z) -> (X, Y, Z, C)
    header = nib.Nifti1Header() if max(dims) < 2**15 else nib.Nifti2Header()
    header.set_data_dtype(array.dtype)
    header.set_data_shape(dims)
    set_place(header, volume.grid)
    header["descrip"] = description.encode()[:79]
    header["scl_slope"], header["scl_inter"] = 1.0, 0.0
    header["vox_offset"] = len(header.binaryblock) + 4
    # Level 3: 2 times faster than the usual 6 on label maps and MR, for 5 % more bytes; no time stamp inside.
    deflater = zlib.compressobj(3, zlib.DEFLATED, 31) if path.name.endswith(".gz") else None
    depth = max(1, PIECE_BYTES // max(1, shape[0] * shape[1] * array.itemsize))
    with replacing(path) as temporary, temporary.open("wb") as file:

        def put(data: bytes) -> None:
            file.write(data if deflater is None else deflater.compress(data))

        put(header.binaryblock + b"\0" * 4)
        for channel in array:
            for z in range(0, shape[2], depth):
                put(channel[:, :, z : z + depth].tobytes(order="F"))
        if deflater is not None:
            file.write(deflater.flush())


@contextmanager
def _opened(path: Path) -> Iterator[Stream]:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # before opening: a pipe would wait for ever
            kind = "folder" if stat.S_ISDIR(mode) else "device or pipe"
            raise NiftiError(path, f"is a {kind}, not a file", "name a .nii or .nii.gz file")
        if not path.name.endswith(SUFFIXES):
            raise NiftiError(path, "is not .nii or .nii.gz", "convert it to NIfTI first")
        with path.open("rb", buffering=0) as file:
            yield Stream(file)
    except Damaged as error:
        raise NiftiError(path, str(error), AGAIN) from None
    except FileNotFoundError:
        raise NiftiError(path, "there is no such file", "check the name") from None
    except OSError as error:
        raise NiftiError(path, f"cannot be read ({error.strerror})", "check its permissions and the disk") from None


def _header(path: Path, stream: Stream) -> Any:
    block = stream.read(348)
    if len(block) < 348:
        raise NiftiError(path, f"is truncated (only {len(block)} bytes of header)", AGAIN)
    kinds = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
    sizes = {sign: int(np.frombuffer(block, f"{sign}i4", 1)[0]) for sign in "<>"}  # how it says its byte order
    sign, size = next(((sign, size) for sign, size in sizes.items() if size in kinds), ("", 0))
    if not sign:
        raise NiftiError(path, "is not a NIfTI file (its header has another size)", "convert it to .nii.gz")
    block += stream.read(size - 348)
    if len(block) < size:
        raise NiftiError(path, f"is truncated (only {len(block)} bytes of header)", AGAIN)
    header = kinds[size](block, endianness=sign, check=False)
    magic = bytes(header["magic"])[:3]
    if magic in (b"ni1", b"ni2"):
        raise NiftiError(path, "is half of a .hdr/.img pair", "convert the pair to one .nii.gz file")
    if magic != (b"n+1" if size == 348 else b"n+2"):
        raise NiftiError(path, f"is not a NIfTI file (magic {magic!r})", "convert it to .nii.gz")
    whole = bytes(block[344:348] if size == 348 else block[4:12])  # numpy would cut zeros off
    if whole[3] or whole[4:] not in (b"", b"\r\n\x1a\n", bytes(4)):
        # By the standard such a file is no NIfTI: ITK takes it for ANALYZE, whose axes run elsewhere.
        raise NiftiError(path, f"has a damaged magic number ({whole!r})", AGAIN)
    return header


def _dimensions(path: Path, header: Any) -> tuple[Int3, int]:
    dim = [int(d) for d in header["dim"]]
    used = dim[1 : dim[0] + 1] if 1 <= dim[0] <= 7 else dim
    extra = [d for d in used[3:] if d != 1]
    if not 3 <= dim[0] <= 7 or any(d < 1 for d in used) or len(extra) > 1:
        size = " x ".join(map(str, used))
        raise NiftiError(path, f"has {dim[0]} dimensions ({size})", "store it as a 3D image, or 4D with channels last")
    channels = extra[0] if extra else 1
    if channels > MAX_CHANNELS:
        raise NiftiError(
            path, f"has {channels:,} channels", f"mend its header, or store at most {MAX_CHANNELS:,} in a file"
        )
    return int3(used[:3]), channels


def _layout(path: Path, stream: Stream, header: Any, shape: Int3, channels: int) -> tuple[np.dtype, int]:
    """Goes to the voxels: their type and bytes. NiftiError where the file cannot hold what its header says."""
    try:
        dtype: np.dtype = header.get_data_dtype()
        if dtype.itemsize == 0:
            raise ValueError("datatype 0 is `unknown`")
    except Exception:
        fault = f"has an unknown voxel type (datatype {int(header['datatype'])})"
        raise NiftiError(path, fault, "store it as integers or float32") from None
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        kind = "colour" if dtype.names else str(dtype)
        raise NiftiError(path, f"has voxels of type {kind}", "store it as integers or float32")
    size = shape[0] * shape[1] * shape[2] * channels * int(dtype.itemsize)
    offset, header_size = float(header["vox_offset"]), int(header["sizeof_hdr"])
    if not (header_size <= offset <= 2**26 and offset == int(offset)):
        raise NiftiError(path, f"says that its voxels begin at byte {offset:g}, which cannot be", "write it anew")
    most = stream.size_on_disk * (MAX_DEFLATE_RATIO if stream.gzipped else 1)
    if size + offset > most:
        fault = f"is truncated, or its header lies: {size:,} bytes of voxels cannot come from {stream.size_on_disk:,}"
        raise NiftiError(path, fault, AGAIN)
    stream.read(int(offset) - header_size)
    return dtype, size


def _voxels(path: Path, stream: Stream, header: Any, shape: Int3, channels: int) -> NDArray:
    dtype, size = _layout(path, stream, header, shape, channels)
    try:
        data = np.empty(size, np.uint8)  # memory is taken only as it fills
    except MemoryError:
        raise NiftiError(path, f"needs {size / 2**30:.1f} GiB of memory", "use a machine with more") from None
    _whole(path, stream, size, stream.fill(data))
    flat: NDArray = data.view(dtype)
    if not dtype.isnative:
        flat = flat.byteswap(inplace=True).view(dtype.newbyteorder("="))
    # The file runs x fastest, then y, z, channel: reversed C order is (C, Z, Y, X), turned to (C, X, Y, Z).
    return flat.reshape((channels, *shape[::-1])).transpose(0, 3, 2, 1)


def _whole(path: Path, stream: Stream, size: int, found: int) -> None:
    """NiftiError unless all `size` bytes of voxels were found and hardly anything follows them."""
    if found < size:
        raise NiftiError(path, f"is truncated ({found:,} of {size:,} bytes of voxels)", AGAIN)
    # Reading to the very end is what checks the gzip checksum.
    if len(stream.read(MAX_TRAILING_BYTES + 1)) > MAX_TRAILING_BYTES:
        raise NiftiError(path, "has data after its last voxel, so its header does not describe it", "write it anew")


def _scaled(path: Path, array: NDArray, slope: float, inter: float) -> NDArray:
    """slope * array + inter as float32, computed in float64 a slice at a time; the array itself where both are idle."""
    if not _scales(slope, inter):
        return array
    _refuse_scale(path, slope, inter)
    scaled = np.empty(array.shape[:1] + array.shape[:0:-1], np.float32).transpose(0, 3, 2, 1)  # the file's own order
    with np.errstate(over="ignore"):  # beyond float32 is inf, which `check` reports
        for channel, target in zip(array, scaled, strict=True):
            for z in range(array.shape[3]):
                target[:, :, z] = channel[:, :, z].astype(np.float64) * slope + inter
    return scaled


def _refuse_scale(path: Path, slope: float, inter: float) -> None:
    if _scales(slope, inter) and not np.isfinite(inter):
        raise NiftiError(path, f"has scl_inter {inter}, so its values mean nothing", "set it to 0 or write it anew")


def _scales(slope: float, inter: float) -> bool:
    return bool(np.isfinite(slope)) and slope != 0 and (slope, inter) != (1.0, 0.0)


def _storable(path: Path, array: NDArray) -> NDArray:
    if array.dtype == np.bool_:
        return array.astype(np.uint8)
    if array.dtype == np.float16:
        return array.astype(np.float32)
    if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
        raise ValueError(f"{path}: cannot hold voxels of type {array.dtype}; use integers or float32")
    if array.size == 0:
        raise ValueError(f"{path}: cannot hold an image without voxels ({array.shape})")
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8:
        if array.min() < -(2**31) or array.max() >= 2**31:
            raise ValueError(f"{path}: cannot hold whole numbers beyond 32 bits; store them as float64")
        return array.astype(np.int32)
    return array.astype(array.dtype.newbyteorder("="), copy=False)
