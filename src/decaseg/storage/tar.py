"""Reads tar headers one after the other: strict, in bounded memory, plain or gzip.

Python's tarfile reads long-name headers of any size into memory, follows chains of them by recursion, and takes a
damaged header in the middle for the end of the archive. Here tarfile parses single blocks; this module walks.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from decaseg.storage.stream import Damaged, Stream

BLOCK = tarfile.BLOCKSIZE
MOST_HEADER_BYTES = 1 << 20  # of a long name or of extended attributes
PIECE_BYTES = 1 << 20
MOST_PADDING_BYTES = 1 << 24
KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a FIFO",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
    tarfile.CONTTYPE: "a contiguous file",
}


@dataclass(frozen=True)
class Entry:
    """One member as the archive has it; `strange` says what it is where it is no plain file or folder."""

    name: str
    size_bytes: int
    is_folder: bool
    strange: str


class Reader:
    """The members of a tar or tar.gz file in turn. After each entry, `data` gives its bytes, or they are passed over.

    Damaged (a ValueError) where the file is no tar, is cut short, lies about sizes, or has no end mark.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.data_left = 0
        self.stream = Stream(file)
        self.size_on_disk = self.stream.size_on_disk
        self.position = 0  # in the unpacked stream
        self.left = 0  # bytes of the current member's data, with padding

    def entries(self) -> Iterator[Entry]:
        """All members, up to the end mark; then, where the file is gzip, its checksum is verified."""
        name, size = None, None
        while True:
            self._skip(self.left)
            info = self._header()
            if info is None:
                break
            if info.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
                text = self._text(info)
                name = text.split(b"\0")[0].decode("utf-8", "surrogateescape") if info.type == b"L" else name
                continue
            if info.type in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE):
                pax = _pax(self._text(info))
                if info.type != tarfile.XGLTYPE:
                    name, size = pax.get("path", name), pax.get("size", size)
                elif {"path", "size"} & set(pax):
                    raise Damaged("names or sizes all its members at once, which no usual program does")
                continue
            found = _entry(info, name, size)
            self.left = -(-found.size_bytes // BLOCK) * BLOCK
            self.data_left = found.size_bytes
            name, size = None, None
            yield found
        if name is not None or size is not None:
            raise Damaged("ends with a name that has no member")
        if self.stream.gzipped:
            padding = 0
            while piece := self.stream.read(PIECE_BYTES):
                padding += len(piece)
                if padding > MOST_PADDING_BYTES:
                    raise Damaged(f"goes on for more than {MOST_PADDING_BYTES:,} bytes after its end mark")

    def data(self) -> Iterator[bytes]:
        """The current member's bytes."""
        while self.data_left:
            piece = self._read(min(self.data_left, PIECE_BYTES))
            self.data_left -= len(piece)
            self.left -= len(piece)
            yield piece

    def _read(self, count: int) -> bytes:
        piece = self.stream.read(count)
        self.position += len(piece)
        if len(piece) < count:
            raise Damaged("is cut short")
        return piece

    def _skip(self, count: int) -> None:
        self.left = 0
        if self.stream.gzipped:
            while count:
                count -= len(self._read(min(count, PIECE_BYTES)))
        elif self.position + count > self.size_on_disk:
            raise Damaged("is cut short")
        else:
            self.stream.file.seek(count, os.SEEK_CUR)
            self.position += count

    def _header(self) -> tarfile.TarInfo | None:
        """The next header; None at the end mark. An archive that just stops was cut."""
        block = self.stream.read(BLOCK)
        self.position += len(block)
        if len(block) < BLOCK:
            raise Damaged("is cut short: a tar ends with a block of zeros" if self.position else "is empty")
        if not any(block):
            return None
        try:
            return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except (tarfile.HeaderError, ValueError) as error:
            where = "is no tar archive" if self.position == BLOCK else f"is damaged at byte {self.position - BLOCK:,}"
            raise Damaged(f"{where} ({error})") from None

    def _text(self, info: tarfile.TarInfo) -> bytes:
        if not 0 < info.size <= MOST_HEADER_BYTES:
            raise Damaged(f"has a header of {info.size:,} bytes; {MOST_HEADER_BYTES:,} are the most")
        text = self._read(info.size)
        self._skip(-info.size % BLOCK)
        return text


def _entry(info: tarfile.TarInfo, name: str | None, size: str | None) -> Entry:
    """The member that a header and what came before it describe."""
    plain = info.type in (tarfile.REGTYPE, tarfile.AREGTYPE)
    said = info.name if name is None else name
    is_folder = info.type == tarfile.DIRTYPE
    strange = "" if plain or is_folder else KINDS.get(info.type, f"of the unknown type {info.type!r}")
    if size is not None and not re.fullmatch("[0-9]{1,18}", size):
        raise Damaged(f"gives {said!r} the size {size[:40]!r}")
    size_bytes = info.size if size is None else int(size)
    if size_bytes < 0:
        raise Damaged(f"gives {said!r} a negative size")
    if is_folder and size_bytes:
        strange = "a folder with content of its own"
    return Entry(said, size_bytes, is_folder, strange)


def _pax(text: bytes) -> dict[str, str]:
    """`path` and `size` of an extended header; each record is `length key=value` and a line break."""
    found: dict[str, str] = {}
    while text:
        matched = re.match(rb"([0-9]{1,7}) ([^=\n]{1,255})=", text)
        length = int(matched.group(1)) if matched else 0
        if matched is None or length <= matched.end() or text[length - 1 : length] != b"\n":
            raise Damaged("has a damaged extended header")
        key, value = matched.group(2), text[matched.end() : length - 1]
        if key.startswith(b"GNU.sparse"):
            raise Damaged("holds a sparse file; pack it anew without --sparse")
        if key in (b"path", b"size"):
            found[key.decode()] = value.decode("utf-8", "surrogateescape")
        text = text[length:]
    return found


def kind_of(head: bytes) -> str:
    """Empty where a file that begins with these bytes may be a tar or tar.gz, else what it seems to be."""
    if head.startswith(b"\x1f\x8b"):
        return ""
    for mark, said in (
        (b"PK", "a zip archive"),
        (b"BZh", "a bzip2 file"),
        (b"\xfd7zXZ", "an xz file"),
        (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
        (b"7z\xbc", "a 7z archive"),
    ):
        if head.startswith(mark):
            return said
    if re.match(rb"\s*<(!doctype|html|\?xml)", head, re.IGNORECASE):
        return "a web page"
    try:
        tarfile.TarInfo.frombuf(head[:BLOCK], "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        return f"something else (it begins with {head[:16]!r})"
    return ""
