"""Which files are DICOM, told by their first bytes; needs no pydicom, so that folders without any cost nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

PREAMBLE = 128
OLD_STARTS = (b"\x08\x00\x00\x00", b"\x08\x00\x05\x00", b"\x08\x00\x08\x00", b"\x02\x00\x00\x00")  # without a preamble


def is_dicom(path: Path) -> bool:
    """Does the file begin as DICOM files do? An index (DICOMDIR) is none of them."""
    if path.name.upper() == "DICOMDIR" or not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(PREAMBLE + 4)
    return head[PREAMBLE:] == b"DICM" or head[:4] in OLD_STARTS


def dicom_files(folder: Path) -> Iterator[Path]:
    """All DICOM files in a folder and in those below it, in order of name; hidden ones are passed over."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and is_dicom(path):
            yield path
