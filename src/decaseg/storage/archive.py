"""Unpacks tar archives of data sets: plain files and folders only, never outside the target, within limits.

Every member is judged before anything is written (`survey`), and judged again, by the same lines, while it is
unpacked. Nothing of what an archive says but names and bytes is taken over: no owners, modes, times or links.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from decaseg.storage.files import sync_folder
from decaseg.storage.tar import Entry, Reader

Advance = Callable[[int, int], None]
MIB, GIB = 1 << 20, 1 << 30


class Hostile(ValueError):
    """A member that no archive of a data set has."""


@dataclass(frozen=True)
class Limits:
    """The most that an archive may hold; the Decathlon's largest has some thousand members and tens of GiB."""

    members: int = 50_000  # and folders that only their names speak of
    total_bytes: int = 512 * GIB
    ratio: float = 100.0  # unpacked against packed, once more than `ratio_from_bytes` are unpacked
    ratio_from_bytes: int = 256 * MIB
    name_bytes: int = 1024
    part_bytes: int = 200  # of one folder's or file's name; file systems have 255
    depth: int = 16


@dataclass(frozen=True)
class Contents:
    """What an archive holds: files with their sizes, their total, and the members that were left out."""

    files: dict[str, int]
    folders: tuple[str, ...]
    skipped: tuple[str, ...]

    @property
    def total_bytes(self) -> int:
        return sum(self.files.values())


def survey(path: Path, advance: Advance, limits: Limits = Limits()) -> Contents:
    """Reads the whole archive without writing anything.

    Hostile names the first member that must not be unpacked, and why; Damaged says where the file is no sound tar.
    """
    return _walk(path, None, advance, limits)


def unpack(path: Path, target: Path, advance: Advance, limits: Limits = Limits()) -> Contents:
    """Unpacks into `target`, a new folder; every file is on the disk when this returns.

    Errors as `survey`, and OSErrors; `target` then holds a part, and is the caller's to remove.
    """
    target.mkdir()
    return _walk(path, target, advance, limits)


def _walk(path: Path, target: Path | None, advance: Advance, limits: Limits) -> Contents:
    files: dict[str, int] = {}
    skipped: list[str] = []
    names = _Names(limits)
    with path.open("rb") as file:
        reader = Reader(file)
        for entry in reader.entries():
            _judge_size(reader, entry, limits)
            parts = names.judged(entry)
            if _is_litter(parts):
                skipped.append("/".join(parts))
            elif parts:
                if not entry.is_folder:
                    files["/".join(parts)] = entry.size_bytes
                if target is not None:
                    _write(target.joinpath(*parts), entry, reader)
            advance(file.tell(), reader.size_on_disk)
    folders = tuple(names.folders())
    if target is not None:
        for folder in ("", *folders):
            sync_folder(target / folder)
    return Contents(files, folders, tuple(skipped))


def _write(path: Path, entry: Entry, reader: Reader) -> None:
    """One member; parents are folders that this module made, and files are never opened where something lies."""
    if entry.is_folder:
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        for piece in reader.data():
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


def _judge_size(reader: Reader, entry: Entry, limits: Limits) -> None:
    """Looks at what a member claims before any of it is read."""
    claimed = reader.position + entry.size_bytes
    if claimed > limits.total_bytes:
        raise Hostile(f"unpacks to more than {limits.total_bytes / GIB:,.0f} GiB, at {_shown(entry.name)}")
    if claimed > max(limits.ratio_from_bytes, limits.ratio * reader.size_on_disk):
        packed = f"unpacks from {reader.size_on_disk:,} bytes to {claimed:,} and more, at {_shown(entry.name)}"
        raise Hostile(f"{packed}: a bomb (at most {limits.ratio:g} times the packed size)")


class _Names:
    """The names so far, each kept as file systems that ignore case and spelling variants see it."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.seen: dict[tuple[str, ...], tuple[tuple[str, ...], bool]] = {}  # as seen -> (as written, is a folder)
        self.count = 0  # of members; those that name nothing new count, too

    def judged(self, entry: Entry) -> tuple[str, ...]:
        """The parts of a member's name; Hostile where it must not be unpacked."""
        self.count += 1
        if self.count > self.limits.members:
            raise Hostile(f"holds more than {self.limits.members:,} members")
        if entry.strange:
            raise Hostile(
                f"has the member {_shown(entry.name)}, {entry.strange}; only plain files and folders are taken"
            )
        reason = _fault(entry.name, self.limits)
        if reason:
            raise Hostile(f"has the member {_shown(entry.name)}, which {reason}")
        parts = tuple(part for part in entry.name.split("/") if part not in ("", "."))
        if not parts and not entry.is_folder:
            raise Hostile(f"has the member {_shown(entry.name)}, a file without a name")
        if not entry.is_folder and entry.name.endswith("/"):
            raise Hostile(f"has the member {_shown(entry.name)}, a file with the name of a folder")
        for depth in range(1, len(parts) + 1):
            self._note(parts[:depth], depth < len(parts) or entry.is_folder, depth == len(parts), entry)
        return parts

    def _note(self, parts: tuple[str, ...], is_folder: bool, is_last: bool, entry: Entry) -> None:
        key = tuple(unicodedata.normalize("NFC", unicodedata.normalize("NFC", part).casefold()) for part in parts)
        before = self.seen.get(key)
        if before is None:
            if len(self.seen) >= self.limits.members:
                raise Hostile(f"holds more than {self.limits.members:,} files and folders")
            self.seen[key] = (parts, is_folder)
            return
        written, was_folder = before
        if written != parts:
            other = _shown("/".join(written))
            raise Hostile(f"has the members {_shown(entry.name)} and {other}, one name where case does not count")
        if is_last and not is_folder and not was_folder:
            raise Hostile(f"has the member {_shown(entry.name)} twice")
        if is_folder != was_folder:
            raise Hostile(f"has the member {_shown(entry.name)}, a file where a folder is or the other way round")

    def folders(self) -> Iterator[str]:
        for parts, is_folder in self.seen.values():
            if is_folder and not _is_litter(parts):
                yield "/".join(parts)


def _fault(name: str, limits: Limits) -> str:
    """Why a name must not be written to a disk; empty where it may."""
    parts = name.split("/")
    if any("\udc80" <= letter <= "\udcff" for letter in name):
        return "is not valid UTF-8"
    if not name.isprintable():
        return "has control characters in its name"
    if name.startswith("/"):
        return "has an absolute name"
    if ".." in parts:
        return "leads out of its folder (..)"
    if "\\" in name or ":" in name:
        return "has a backslash or a colon in its name, which lead elsewhere on Windows"
    if len(name.encode()) > limits.name_bytes or any(len(part.encode()) > limits.part_bytes for part in parts):
        return f"has a name that is too long ({len(name.encode()):,} bytes)"
    if len(parts) > limits.depth:
        return f"lies more than {limits.depth} folders deep"
    if any(part != part.strip() or part.endswith(".") for part in parts if part not in ("", ".")):
        return "has a name that begins or ends with a space, or ends with a dot"
    return ""


def _is_litter(parts: tuple[str, ...]) -> bool:
    """What macOS adds to archives (AppleDouble files, Finder's notes); the Decathlon's hold many."""
    return any(part.startswith("._") or part in ("__MACOSX", ".DS_Store") for part in parts)


def _shown(name: str) -> str:
    """A name in quotes with nothing in it that a terminal would obey."""
    text = ascii(name) if not name.isprintable() else repr(name)
    return text if len(text) <= 120 else f"{text[:80]}…{text[-30:]}"
