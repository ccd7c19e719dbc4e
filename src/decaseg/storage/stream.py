"""Reads a file that may be gzip to its very end, so that every checksum in it is verified."""

from __future__ import annotations

import zlib
from typing import IO

import numpy as np
from numpy.typing import NDArray

PIECE_BYTES = 1 << 22  # what is inflated at a time
BLOCK_BYTES = 1 << 14  # what is read at a time; zlib copies the rest of it at the end of every gzip member
# Members of a kilobyte or less beyond these many are an attack on the reader's time: 20 bytes make an empty one.
# bgzip, which makes the smallest of the usual ones, puts 64 KiB into each.
FREE_MEMBERS, MEMBER_BYTES = 4096, 1024


class Damaged(ValueError):
    """The stream is cut short, or its bytes do not match their checksum."""


class Stream:
    """The bytes of a file, inflated where they are gzip (the name does not matter), in the caller's own buffers."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.gzipped = file.read(2) == b"\x1f\x8b"
        self.size_on_disk = file.seek(0, 2)
        file.seek(0)
        self.inflater = zlib.decompressobj(31)  # 31: gzip, with its checksum and length verified
        self.waiting = b""
        self.members, self.inflated = 1, 0

    def fill(self, target: NDArray[np.uint8]) -> int:
        """Fills `target` and returns how many bytes there were; fewer than it holds only at the end of the file."""
        view, done = target.data, 0
        while done < len(view):
            if self.gzipped:
                piece = self._inflated(min(len(view) - done, PIECE_BYTES))
                count = len(piece)
                view[done : done + count] = piece
            else:
                count = self.file.readinto(view[done:])  # type: ignore[attr-defined]
            if not count:
                break
            done += count
        return done

    def read(self, size: int) -> bytes:
        """At most `size` bytes; fewer only at the end of the file."""
        buffer = np.empty(size, np.uint8)
        return buffer[: self.fill(buffer)].tobytes()

    def _inflated(self, most: int) -> bytes:
        """The next bytes, at most `most`; none at the end of the last gzip member."""
        try:
            while True:
                if self.inflater.eof and not self._next_member():
                    return b""
                source = self.waiting or self.file.read(BLOCK_BYTES)
                piece = self.inflater.decompress(source, most)
                self.waiting = self.inflater.unconsumed_tail
                if piece:
                    self.inflated += len(piece)
                    return piece
                if not source and not self.inflater.eof:
                    raise Damaged("is truncated (its gzip stream ends early)")
        except zlib.error as error:
            raise Damaged(f"is damaged ({error})") from None

    def _next_member(self) -> bool:
        """Goes on to the next gzip member, over zero padding as gzip(1) does; False at the end of the file."""
        rest = self.inflater.unused_data.lstrip(b"\0")
        while not rest:
            block = self.file.read(BLOCK_BYTES)
            if not block:
                return False
            rest = block.lstrip(b"\0")
        self.members += 1
        if self.members > FREE_MEMBERS + self.inflated // MEMBER_BYTES:
            raise Damaged(f"is chopped into more than {self.members - 1:,} pieces of gzip")
        self.inflater, self.waiting = zlib.decompressobj(31), rest
        return True
