"""A checksum inside a safetensors file: the format has none, so that a flipped bit makes another network, unnoticed.

`seal` says what to write into the file's own metadata, `verify` compares. It finds damage, not an attacker, who could
write a new sum.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

KEY = "sha256"
MOST_HEADER_BYTES = 100_000_000  # the format's own bound
PIECE_BYTES = 1 << 22


def seal(data: bytes) -> dict[str, str]:
    """The metadata to save the same tensors with once more; `data` is a whole safetensors file."""
    length = int.from_bytes(data[:8], "little")
    summed = _of_header(json.loads(data[8 : 8 + length]))
    summed.update(memoryview(data)[8 + length :])
    return {KEY: summed.hexdigest()}


def verify(path: Path) -> None:
    """ValueError, naming the file, where its bytes do not match its sum, or where it is no safetensors file.

    Files of others, and those of versions before this one, have no sum: nothing is said of them.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MOST_HEADER_BYTES:
            raise ValueError(f"{path}: cannot be read as safetensors (its header is too long); copy the run again")
        try:
            header = json.loads(file.read(length))
            wanted = header.get("__metadata__", {}).get(KEY)
        except (ValueError, AttributeError, RecursionError):
            raise ValueError(f"{path}: cannot be read as safetensors (damaged header); copy the run again") from None
        if wanted is None:
            return
        summed = _of_header(header)
        while piece := file.read(PIECE_BYTES):
            summed.update(piece)
    if summed.hexdigest() != wanted:
        raise ValueError(f"{path}: is damaged (its bytes do not match its checksum); copy the run again")


def _of_header(header: dict[str, object]) -> hashlib._Hash:
    """Names, types, shapes and places of the tensors; the bytes that follow are added by the caller."""
    tensors = {name: value for name, value in header.items() if name != "__metadata__"}
    return hashlib.sha256(json.dumps(tensors, sort_keys=True).encode())
