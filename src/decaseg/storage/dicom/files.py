"""Which files are DICOM, told by their first bytes; needs no pydicom, so that folders without any cost nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

PREAMBLE = 128
OLD_STARTS = (b"\x08\x00\x00\x00", b"\x08\x00\x05\x00", b"\x08\x00\x08\x00")  # without a preamble


def is_dicom(path: Path) -> bool:
    """Does the file begin as DICOM files do? An index (DICOMDIR) is none of them."""
    if path.name.upper() == "DICOMDIR" or not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(PREAMBLE + 4)
    return head[PREAMBLE:] == b"DICM" or head[:4] in OLD_STARTS


def dicom_files(folder: Path) -> Iterator[Path]:
    """All DICOM files in a folder and in those below it, links too, in order of name; hidden ones are passed over."""
    seen = set[str]()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = [] if real in seen else sorted(name for name in folders if not name.startswith("."))
        if real in seen:  # a link that leads back
            continue
        seen.add(real)
        for name in sorted(names):
            if not name.startswith(".") and is_dicom(path := Path(place) / name):
                yield path
