"""SHA-256 sums of all files of a folder, as text that sha256sum reads: written once, compared ever after."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from decaseg.storage.files import sha256_of, write_bytes

LINE = re.compile(r"(?P<escaped>\\?)(?P<sum>[0-9a-f]{64}) [ *](?P<name>.+)")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Difference:
    """What is not as the manifest says: files by their names relative to the folder, sorted."""

    changed: tuple[str, ...]
    missing: tuple[str, ...]
    new: tuple[str, ...]
    unreadable: tuple[str, ...]


def sums_of(
    root: Path, besides: Path, threads: int = 2, progress: Progress | None = None
) -> tuple[dict[str, str], list[str]]:
    """Name -> SHA-256 of every file below `root` but `besides`, hidden ones too; and the names of unreadable ones.

    Links to files count as the files, links to folders are not followed. Every byte is read.
    """
    names = _names(root, besides)
    found: dict[str, str] = {}
    unreadable: list[str] = []
    pool = ThreadPoolExecutor(max(1, threads))
    try:
        for done, (name, digest) in enumerate(pool.map(lambda name: (name, _sum(root / name)), names), 1):
            if digest is None:
                unreadable.append(name)
            else:
                found[name] = digest
            if progress is not None:
                progress(done, len(names))
    finally:
        pool.shutdown(cancel_futures=True)
    return found, unreadable


def write_manifest(path: Path, sums: Mapping[str, str]) -> None:
    """A line a file, sorted by name: `cd FOLDER && sha256sum -c FILE` compares them too."""
    text = "".join(f"{_line(name, digest)}\n" for name, digest in sorted(sums.items()))
    write_bytes(path, text.encode("utf-8", "surrogateescape"))


def read_manifest(path: Path) -> dict[str, str]:
    """Name -> SHA-256; a ValueError names the first line that is none of a manifest's."""
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise ValueError(f"--manifest {path}: cannot be read ({error.strerror}); name a file") from None
    sums: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line:
            continue
        found = LINE.fullmatch(line)
        if found is None:
            way = "it is no manifest; name another file, or a new one to have it written"
            raise ValueError(f"--manifest {path}: line {number} is not a SHA-256 sum and a name; {way}")
        name = _plain(found["name"]) if found["escaped"] else found["name"]
        if name in sums:
            raise ValueError(f"--manifest {path}: lists {name} twice; have it written anew")
        sums[name] = found["sum"]
    if not sums:
        raise ValueError(f"--manifest {path}: is empty; delete it to have it written anew")
    return sums


def compare(then: Mapping[str, str], now: Mapping[str, str], unreadable: list[str]) -> Difference:
    """What changed between two sets of sums."""
    return Difference(
        changed=tuple(sorted(name for name in then if name in now and now[name] != then[name])),
        missing=tuple(sorted(name for name in then if name not in now and name not in unreadable)),
        new=tuple(sorted(name for name in now if name not in then)),
        unreadable=tuple(sorted(unreadable)),
    )


def _names(root: Path, besides: Path) -> list[str]:
    found = []
    for folder, folders, files in os.walk(root):
        folders.sort()
        for file in files:
            path = Path(folder, file)
            if not (path.exists() and besides.exists() and path.samefile(besides)):
                found.append(path.relative_to(root).as_posix())
    return sorted(found)


def _sum(path: Path) -> str | None:
    try:
        return sha256_of(path) if path.is_file() else None  # a pipe would be waited for, a broken link is unreadable
    except OSError:
        return None


def _line(name: str, digest: str) -> str:
    """As GNU coreutils write it: names with a backslash or a line break are escaped, and the line begins with one."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == name else chr(92)}{digest}  {escaped}"


def _plain(name: str) -> str:
    return re.sub(r"\\(.)", lambda match: {"n": "\n", "r": "\r"}.get(match[1], match[1]), name)
