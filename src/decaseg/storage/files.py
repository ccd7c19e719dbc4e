"""Files that are either the complete new one or the old one, never half a file."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

TEMPORARY = re.compile(r"\..*\.[0-9a-f]{8}\.tmp(\..*)?")  # the names that `replacing` gives


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path` to write to; on success it is synced and renamed over `path`.

    Whatever fails inside (disk full, an exception, a kill) leaves what was at `path` before. The temporary name is
    hidden and keeps the suffix, since writers choose their format by it; a kill leaves it behind. OSErrors about
    the temporary file, or about none (a full disk says no name), come out naming `path`.
    """
    suffix = "".join(path.suffixes[-2:])[-32:]
    # Names may have 255 bytes: the beginning is for the eye alone, the random part makes it the only one.
    beginning = path.name.removesuffix(suffix)[:40]
    temporary = path.with_name(f".{beginning}.{secrets.token_hex(4)}.tmp{suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        ours = (None, temporary, str(temporary))  # a copy that fails names what it copies first
        if error.errno is not None and (error.filename in ours or error.filename2 in ours[1:]):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        with suppress(OSError):
            temporary.unlink()


def sweep_temporaries(folder: Path) -> None:
    """Removes what `replacing` left in `folder` when it was killed; nobody else may be writing there."""
    for path in folder.glob(".*.tmp*"):
        if path.is_file() and TEMPORARY.fullmatch(path.name):
            with suppress(OSError):
                path.unlink()


def sync_folder(folder: Path) -> None:
    """Makes renames inside `folder` last through a power cut, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8; the file is complete or the old one."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """Writes `data`; the file is complete or the old one."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, document: Any) -> None:
    """JSON as people can read it; NaN and infinities are refused, since JSON has none."""
    try:
        text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise ValueError(f"{path}: cannot be written as JSON ({error}); write null for what is not a number") from None
    write_text(path, text + "\n")


def read_json(path: Path) -> Any:
    """The document, or a ValueError that names the file and the place of the fault.

    A key that stands twice in one object is a fault: JSON readers silently take the last.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        return json.loads(text, object_pairs_hook=_each_key_once)
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file; check the name") from None
    except IsADirectoryError:
        raise ValueError(f"{path}: is a folder, not a JSON file; name the file") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); check its permissions and the disk") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not UTF-8 text; write it anew as UTF-8 JSON") from None
    except json.JSONDecodeError as error:
        before = text[: error.pos].rstrip()
        if before.endswith(",") and text[error.pos : error.pos + 1] in ("}", "]"):
            line = before.count("\n") + 1
            raise ValueError(f"{path}: has a comma in line {line} after which nothing follows; take it out") from None
        raise ValueError(f"{path}: is not valid JSON ({error.msg}, line {error.lineno}); mend that line") from None
    except RecursionError:
        raise ValueError(f"{path}: is nested too deeply to be read; write it anew") from None
    except ValueError as error:  # a key twice, or a number of thousands of digits
        raise ValueError(f"{path}: {error}; mend it") from None


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"has the key {twice!r} twice")
    return found


def sha256_of(path: Path) -> str:
    """The file's content in 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
