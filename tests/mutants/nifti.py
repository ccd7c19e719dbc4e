"""Damaged NIfTI files made from good ones, with their structure in view: header fields, forms, body, gzip container.

Each mutation takes the plain bytes of a .nii (never gzip) and a generator; the `CONTAINERS` take those bytes too and
give what a .nii.gz may be. `mutant` draws one of each sort.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable

import numpy as np

Random = np.random.Generator
Mutation = Callable[[bytes, Random], bytes]

# NIfTI-1: name -> (offset, struct code, count). Offsets from nifti1.h.
FIELDS = {
    "sizeof_hdr": (0, "i", 1), "dim_info": (39, "B", 1), "dim": (40, "h", 8), "intent": (56, "f", 3),
    "intent_code": (68, "h", 1), "datatype": (70, "h", 1), "bitpix": (72, "h", 1), "slice_start": (74, "h", 1),
    "pixdim": (76, "f", 8), "vox_offset": (108, "f", 1), "scl_slope": (112, "f", 1), "scl_inter": (116, "f", 1),
    "slice_end": (120, "h", 1), "xyzt_units": (123, "B", 1), "cal": (124, "f", 2), "toffset": (136, "f", 1),
    "descrip": (148, "B", 80), "qform_code": (252, "h", 1), "sform_code": (254, "h", 1), "quatern": (256, "f", 3),
    "qoffset": (268, "f", 3), "srow": (280, "f", 12), "intent_name": (328, "B", 16), "magic": (344, "B", 4),
    "extender": (348, "B", 4),
}  # fmt: skip
ODD = {
    "B": (0, 1, 2, 3, 4, 7, 8, 10, 16, 32, 63, 64, 127, 128, 255),
    "h": (0, -1, 1, 2, 3, 4, 5, 7, 8, 9, 16, 64, 128, 255, 256, 512, 768, 1024, 1536, 2048, 2304, 32767, -32768),
    "i": (0, -1, 1, 348, 349, 540, 2**31 - 1, -(2**31), 1543569408, 469893120),
    "f": (0.0, -0.0, -1.0, 1.0, 2.0, 0.001, 1e-9, -1e-9, 1e9, 3.4e38, -3.4e38, 1e-45, float("nan"), float("inf"),
          float("-inf"), 352.0, 352.5, 353.0, 544.0, 1e5, 40.0),
}  # fmt: skip


def _put(data: bytearray, name: str, place: int, value: float) -> None:
    offset, code, _ = FIELDS[name]
    struct.pack_into(f"<{code}", data, offset + place * struct.calcsize(code), value)


def _get(data: bytes, name: str) -> tuple:
    offset, code, count = FIELDS[name]
    return struct.unpack_from(f"<{count}{code}", data, offset)


def one_field(plain: bytes, rng: Random) -> bytes:
    """Up to three fields get values that are odd for their type."""
    data = bytearray(plain)
    for _ in range(int(rng.integers(1, 4))):
        name = str(rng.choice(list(FIELDS)))
        _, code, count = FIELDS[name]
        _put(data, name, int(rng.integers(0, count)), ODD[code][int(rng.integers(0, len(ODD[code])))])
    return bytes(data)


def header_bytes(plain: bytes, rng: Random) -> bytes:
    data = bytearray(plain)
    for place in rng.integers(0, 352, int(rng.integers(1, 9))):
        data[place] = int(rng.integers(0, 256))
    return bytes(data)


def dimensions(plain: bytes, rng: Random) -> bytes:
    """Dimensions that still are some: exchanged, folded into others, more of them, off by one."""
    data, dim = bytearray(plain), list(_get(plain, "dim"))
    kind = int(rng.integers(0, 6))
    if kind == 0:
        dim[1:4] = [dim[i] for i in 1 + rng.permutation(3)]
    elif kind == 1:
        dim[int(rng.integers(1, 5))] += int(rng.choice([-1, 1, 2]))
    elif kind == 2:
        dim[0] = int(rng.integers(0, 9))
    elif kind == 3:
        dim[:6] = [5, *dim[1:4], 1, int(rng.integers(1, 4))]
    elif kind == 4:
        dim[int(rng.integers(1, 8))] = int(rng.choice([0, -1, 32767, 3000]))
    else:
        dim[1], dim[2], dim[3] = dim[1] * dim[2] % 32768, 1, dim[3]
    for place, value in enumerate(dim):
        _put(data, "dim", place, max(-32768, min(32767, value)))
    return bytes(data)


def forms(plain: bytes, rng: Random) -> bytes:
    """Affines of every sort: turned, mirrored, sheared, scaled, tiny, singular; one form, both, or none in force."""
    data = bytearray(plain)
    matrix = np.eye(3)
    kind = int(rng.integers(0, 9))
    if kind == 0:
        matrix = matrix[rng.permutation(3)] * rng.choice([-1, 1], 3)
    elif kind == 1:
        matrix = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    elif kind == 2:
        matrix = rng.normal(size=(3, 3))
    elif kind == 3:
        matrix = matrix * 10.0 ** rng.integers(-9, 9)
    elif kind == 4:
        matrix[0] = matrix[1] + rng.choice([0, 1e-7, 1e-3]) * rng.normal(size=3)
    elif kind == 5:
        matrix[int(rng.integers(0, 3))] = rng.choice([0.0, np.nan, np.inf])
    elif kind == 6:
        matrix += 1e-3 * rng.normal(size=(3, 3))
    scaled = np.hstack([matrix * np.array(_get(plain, "pixdim")[1:4]), rng.normal(0, 100, (3, 1))])
    with np.errstate(invalid="ignore", over="ignore"):
        rows = scaled.astype(np.float32)
    if rng.random() < 0.8:
        for place, value in enumerate(rows.ravel()):
            _put(data, "srow", place, float(value))
    if rng.random() < 0.5:
        for place, value in enumerate(rng.choice([0.0, 1.0, -1.0, 0.70710678, 0.5, 1.5, 1e-8], 3)):
            _put(data, "quatern", place, float(value))
    if rng.random() < 0.4:
        _put(data, "pixdim", int(rng.integers(0, 4)), float(rng.choice([-1, 0, 1, 2.5, -2.5, 1e-6, np.nan])))
    _put(data, "sform_code", 0, int(rng.choice([0, 1, 2, 4, 5, -1])))
    _put(data, "qform_code", 0, int(rng.choice([0, 1, 2, 4, 5, -1])))
    return bytes(data)


def units(plain: bytes, rng: Random) -> bytes:
    """Metres, microns, none or unheard-of units, with or without numbers that match."""
    data = bytearray(plain)
    unit, factor = ((0, 1.0), (1, 1e-3), (2, 1.0), (3, 1e3), (5, 1.0), (7, 1.0))[int(rng.integers(0, 6))]
    _put(data, "xyzt_units", 0, unit + int(rng.choice([0, 8, 16, 24, 64])))
    if rng.random() < 0.6:
        for name in ("srow", "qoffset"):
            for place, value in enumerate(_get(plain, name)):
                _put(data, name, place, value * factor)
        for place, value in enumerate(_get(plain, "pixdim")[1:4], 1):
            _put(data, "pixdim", place, value * factor)
    return bytes(data)


def type_of_voxels(plain: bytes, rng: Random) -> bytes:
    """Another type for the same bytes, with the right number of bits or not; values scaled to whatever."""
    data = bytearray(plain)
    kinds = {2: 8, 4: 16, 8: 32, 16: 32, 64: 64, 256: 8, 512: 16, 768: 32, 1024: 64, 1280: 64, 1: 1, 32: 64, 128: 24,
             1536: 128, 1792: 128, 2304: 32, 0: 0, 77: 16}  # fmt: skip
    kind = int(rng.choice(list(kinds)))
    _put(data, "datatype", 0, kind)
    if rng.random() < 0.7:
        _put(data, "bitpix", 0, kinds[kind])
    if rng.random() < 0.5:
        _put(data, "scl_slope", 0, float(rng.choice(ODD["f"])))
        _put(data, "scl_inter", 0, float(rng.choice(ODD["f"])))
    return bytes(data)


def extensions(plain: bytes, rng: Random) -> bytes:
    """Header extensions with sizes that are true, lie, or lead nowhere; voxels that begin where they do or not."""
    content = rng.integers(0, 256, int(rng.integers(0, 64))).astype(np.uint8).tobytes()
    true = -(-(8 + len(content)) // 16) * 16
    size = int(rng.choice([true, true, 0, 8, 15, -16, 2**31 - 1, true + 16]))
    block = struct.pack("<2i", size, int(rng.choice([0, 2, 4, 6, 40, -1]))) + content.ljust(true - 8, b"\0")
    data = bytearray(plain[:348]) + bytes([int(rng.choice([0, 1, 255])), 0, 0, 0]) + block + plain[352:]
    _put(data, "vox_offset", 0, float(rng.choice([352.0, 352.0 + true, 352.0 + size, 360.0])))
    return bytes(data)


def big_endian(plain: bytes, rng: Random) -> bytes:
    """The header the other way round, with its voxels turned too, or not, or with one field forgotten."""
    data = bytearray(plain)
    forgotten = str(rng.choice([*FIELDS, "none", "none", "none"]))
    for name, (offset, code, count) in FIELDS.items():
        width = struct.calcsize(code)
        for place in range(count if name != forgotten and width > 1 else 0):
            at = offset + place * width
            data[at : at + width] = data[at : at + width][::-1]
    for at, width in ((32, 4), (36, 2), (132, 4), (140, 4), (144, 4)):  # fields that nobody reads any more
        data[at : at + width] = data[at : at + width][::-1]
    if rng.random() < 0.7 and (width := _get(plain, "bitpix")[0] // 8) > 1:
        body = np.frombuffer(data[352 : 352 + (len(data) - 352) // width * width], f"u{width}").byteswap().tobytes()
        data[352 : 352 + len(body)] = body
    return bytes(data)


def second_version(plain: bytes, rng: Random) -> bytes:
    """NIfTI-2 of the same image, sound or with an odd value somewhere."""
    data = bytearray(544)
    struct.pack_into("<i8s2h", data, 0, 540, b"n+2\0\r\n\x1a\n", *_get(plain, "datatype"), *_get(plain, "bitpix"))
    struct.pack_into("<8q", data, 16, *_get(plain, "dim"))
    pixdim, srow = _get(plain, "pixdim"), _get(plain, "srow")
    struct.pack_into("<3d", data, 80, 0.0, 0.0, 0.0)
    struct.pack_into("<8d", data, 104, *pixdim)
    struct.pack_into("<q2d", data, 168, 544, *_get(plain, "scl_slope"), *_get(plain, "scl_inter"))
    struct.pack_into("<2i", data, 344, *_get(plain, "qform_code"), *_get(plain, "sform_code"))
    struct.pack_into("<6d", data, 352, *_get(plain, "quatern"), *_get(plain, "qoffset"))
    struct.pack_into("<12d", data, 400, *srow)
    struct.pack_into("<2i", data, 496, 0, *_get(plain, "xyzt_units"))
    if rng.random() < 0.6:
        kind = int(rng.integers(0, 3))
        if kind == 0:
            struct.pack_into("<q", data, 16 + 8 * int(rng.integers(0, 8)), int(rng.choice([0, -1, 3, 2**40, 2**62, 7])))
        elif kind == 1:
            struct.pack_into("<d", data, 400 + 8 * int(rng.integers(0, 12)), float(rng.choice(ODD["f"])))
        else:
            data[int(rng.integers(0, 540))] = int(rng.integers(0, 256))
    return bytes(data) + plain[352:]


def body(plain: bytes, rng: Random) -> bytes:
    """Cut short, gone on, spliced, or with flipped bits."""
    kind = int(rng.integers(0, 4))
    if kind == 0:
        return plain[: int(rng.integers(0, len(plain)))]
    if kind == 1:
        return plain + rng.integers(0, 256, int(rng.choice([1, 16, 70_000]))).astype(np.uint8).tobytes()
    if kind == 2:
        one, two = sorted(int(place) for place in rng.integers(0, len(plain), 2))
        return plain[:one] + plain[two:]
    data = bytearray(plain)
    for place in rng.integers(352, len(data), 8):
        data[place] ^= 1 << int(rng.integers(0, 8))
    return bytes(data)


def lying_size(plain: bytes, rng: Random) -> bytes:
    """A header that claims up to terabytes, and a body of a few bytes."""
    data = bytearray(plain)
    for place in range(1, 4):
        _put(data, "dim", place, int(rng.choice([512, 3000, 20_000, 32_767])))
    return bytes(data[: int(rng.choice([352, 400, len(data)]))])


def untouched(plain: bytes, rng: Random) -> bytes:
    return plain


HEADERS: dict[str, Mutation] = {
    made.__name__: made
    for made in (one_field, header_bytes, dimensions, forms, units, type_of_voxels, extensions, big_endian,
                 second_version, body, lying_size)
}  # fmt: skip


def deflated(plain: bytes, rng: Random) -> bytes:
    return gzip.compress(plain, int(rng.choice([0, 1, 6, 9])), mtime=0)


def not_deflated(plain: bytes, rng: Random) -> bytes:
    return plain


def members(plain: bytes, rng: Random) -> bytes:
    """Several gzip members, empty ones and padding among them: all of it allowed."""
    cuts = sorted(int(place) for place in rng.integers(0, len(plain), int(rng.integers(1, 5))))
    pieces = [plain[a:b] for a, b in zip([0, *cuts], [*cuts, len(plain)], strict=True)]
    return b"".join(gzip.compress(piece, 1) for piece in pieces) + bytes(int(rng.choice([0, 0, 512])))


def gzip_flags(plain: bytes, rng: Random) -> bytes:
    """A gzip header with optional fields whose lengths and checksums are true or not."""
    flags = int(rng.integers(0, 32)) | int(rng.choice([0, 0, 0, 0, 32, 128]))
    head = bytearray(struct.pack("<2s2BI2B", b"\x1f\x8b", int(rng.choice([8, 8, 8, 0, 9])), flags, 0, 0, 255))
    if flags & 4:
        head += struct.pack("<H", int(rng.choice([0, 4, 65535]))) + b"abcd"
    if flags & 8:
        head += b"name.nii" + (b"\0" if rng.random() < 0.8 else b"")
    if flags & 16:
        head += b"a comment\0"
    if flags & 2:
        head += struct.pack("<H", (zlib.crc32(head) & 0xFFFF) ^ int(rng.choice([0, 1])))
    deflater = zlib.compressobj(1, zlib.DEFLATED, -15)
    data = deflater.compress(plain) + deflater.flush()
    return bytes(head) + data + struct.pack("<2I", zlib.crc32(plain), len(plain) & 0xFFFFFFFF)


def damaged(plain: bytes, rng: Random) -> bytes:
    """gzip cut short, with flipped bits, a wrong end, something behind it, or pieces lost."""
    data, kind = bytearray(gzip.compress(plain, 1, mtime=0)), int(rng.integers(0, 5))
    if kind == 0:
        return bytes(data[: int(rng.integers(0, len(data)))])
    if kind == 1:
        for place in rng.integers(0, len(data), int(rng.integers(1, 9))):
            data[place] ^= 1 << int(rng.integers(0, 8))
    elif kind == 2:
        data[-int(rng.integers(1, 9))] ^= int(rng.integers(1, 256))
    elif kind == 3:
        data += rng.integers(0, 256, int(rng.integers(1, 2000))).astype(np.uint8).tobytes()
    else:
        one, two = sorted(int(place) for place in rng.integers(10, len(data), 2))
        del data[one:two]
    return bytes(data)


def bomb(plain: bytes, rng: Random) -> bytes:
    """Up to 300 MB of zeros behind the image."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(1 << 20)
    pieces = [deflater.compress(plain)] + [deflater.compress(zeros) for _ in range(int(rng.integers(20, 300)))]
    return b"".join([*pieces, deflater.flush()])


def crumbs(plain: bytes, rng: Random) -> bytes:
    """Thousands of tiny members."""
    return gzip.compress(b"") * int(rng.integers(1, 20_000)) + gzip.compress(plain, 1)


CONTAINERS: dict[str, Mutation] = {
    made.__name__: made for made in (deflated, not_deflated, members, gzip_flags, damaged, bomb, crumbs)
}
RARE = {"bomb": 0.003, "crumbs": 0.01}  # they take tenths of a second each, to make or to read


def mutant(plain: bytes, rng: Random) -> tuple[str, bytes]:
    """What was done, and the file: half of them damaged in the header or body, the rest in the container."""
    if rng.random() < 0.6:
        name = str(rng.choice(list(HEADERS)))
        changed = HEADERS[name](plain, rng)
        return name, deflated(changed, rng) if rng.random() < 0.8 else changed
    name = next((rare for rare, share in RARE.items() if rng.random() < share), "")
    name = name or str(rng.choice([n for n in CONTAINERS if n not in RARE]))
    return name, CONTAINERS[name](plain, rng)
