"""Damaged and hostile uploads made from a good one: for the tests and for benchmarks/serving."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable

import numpy as np

Random = np.random.Generator


def truncated(good: bytes, rng: Random) -> bytes:
    return good[: int(rng.integers(0, len(good)))]


def bits_flipped(good: bytes, rng: Random) -> bytes:
    data = bytearray(good)
    for place in rng.integers(0, len(data) * 8, int(rng.integers(1, 9))):
        data[place // 8] ^= 1 << (place % 8)
    return bytes(data)


def header_bytes(good: bytes, rng: Random) -> bytes:
    """Random bytes in the header, and a right checksum round it."""
    data = bytearray(gzip.decompress(good))
    for place in rng.integers(0, 352, int(rng.integers(1, 6))):
        data[place] = int(rng.integers(0, 256))
    return gzip.compress(bytes(data), 1)


def header_fields(good: bytes, rng: Random) -> bytes:
    """Numbers that lie: dimensions, type, offset, spacing, affine, scale."""
    data = bytearray(gzip.decompress(good))
    odd = [0, -1, 1, 2, 7, 255, 4096, 30000, 32767, -32768]
    floats = [0.0, -1.0, 1e-9, 1e9, float("nan"), float("inf"), 40.0, 0.025, 3.4e38]
    for _ in range(int(rng.integers(1, 4))):
        kind = int(rng.integers(0, 4))
        if kind == 0:
            struct.pack_into("<h", data, 40 + 2 * int(rng.integers(0, 8)), int(rng.choice(odd)))
        elif kind == 1:
            struct.pack_into("<h", data, int(rng.choice([70, 72, 252, 254])), int(rng.choice(odd)))
        elif kind == 2:
            place = int(rng.choice([76, 80, 84, 88, 108, 112, 116]))
            struct.pack_into("<f", data, place, float(rng.choice(floats)))
        else:
            struct.pack_into("<f", data, 280 + 4 * int(rng.integers(0, 12)), float(rng.choice(floats)))
    return gzip.compress(bytes(data), 1)


def trailing(good: bytes, rng: Random) -> bytes:
    more = rng.integers(0, 256, int(rng.integers(1, 200_000))).astype(np.uint8).tobytes()
    return good + (more if rng.random() < 0.5 else gzip.compress(more, 1))


def spliced(good: bytes, rng: Random) -> bytes:
    one, two = sorted(int(place) for place in rng.integers(0, len(good), 2))
    return good[:one] + good[two:] if rng.random() < 0.5 else good[:two] + good[one:]


def bomb(good: bytes, rng: Random) -> bytes:
    """Some hundred megabytes of zeros behind the header, in some hundred kilobytes."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, 31)
    pieces = [deflater.compress(gzip.decompress(good))]
    pieces += [deflater.compress(bytes(1 << 20)) for _ in range(int(rng.integers(50, 300)))]
    return b"".join([*pieces, deflater.flush()])


def empty_members(good: bytes, rng: Random) -> bytes:
    return gzip.compress(b"") * int(rng.integers(1, 30_000)) + good


def claims(good: bytes, rng: Random) -> bytes:
    """55 bytes that claim 54 GB."""
    header = bytearray(gzip.decompress(good)[:352])
    struct.pack_into("<8h", header, 40, 3, 3000, 3000, 3000, 1, 1, 1, 1)
    return gzip.compress(bytes(header))


def noise(good: bytes, rng: Random) -> bytes:
    head = [b"", b"\x1f\x8b", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", struct.pack("<i", 348)]
    return head[int(rng.integers(0, 4))] + rng.integers(0, 256, int(rng.integers(0, 5000))).astype(np.uint8).tobytes()


def plain(good: bytes, rng: Random) -> bytes:
    """Not gzip at all: the bits of the .nii itself."""
    return bits_flipped(gzip.decompress(good), rng) if rng.random() < 0.7 else truncated(gzip.decompress(good), rng)


def values(good: bytes, rng: Random) -> bytes:
    """Voxels of another type than they are: float32, with whatever NaN and infinity that gives."""
    data = bytearray(gzip.decompress(good))
    struct.pack_into("<2h", data, 70, 16, 32)
    data += rng.integers(0, 256, len(data) - 352).astype(np.uint8).tobytes()
    return gzip.compress(bytes(data), 1)


MUTATIONS: dict[str, Callable[[bytes, Random], bytes]] = {
    made.__name__: made
    for made in (truncated, bits_flipped, header_bytes, header_fields, trailing, spliced, bomb, empty_members, claims,
                 noise, plain, values)
}  # fmt: skip


def form(mutant: bytes, rng: Random) -> tuple[bytes, str]:
    """The mutant in a multipart form that is itself damaged now and then; body and content type."""
    boundary = "x" * int(rng.integers(1, 71))
    name = str(rng.choice(["../../etc/passwd", "a\\b.nii.gz", "\u202egz.iin", "con", "a" * 3000, "%00", "x.nii.gz"]))
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'
    body = head.encode() + mutant + f"\r\n--{boundary}--\r\n".encode()
    if rng.random() < 0.3:
        body = truncated(body, rng) if rng.random() < 0.5 else bits_flipped(body, rng)
    return body, f"multipart/form-data; boundary={boundary}"
