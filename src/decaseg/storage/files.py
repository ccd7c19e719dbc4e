"""Files that are either the complete new one or the old one, never half a file."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path` to write to; on success it is synced and renamed over `path`.

    Whatever fails inside (disk full, an exception, a kill) leaves what was at `path` before. The temporary
    name keeps the suffix, since writers choose their format by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = "".join(path.suffixes[-2:])
    temporary = path.with_name(f".{path.name[: len(path.name) - len(suffix)]}.{secrets.token_hex(4)}.tmp{suffix}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def sync_folder(folder: Path) -> None:
    """Makes renames inside `folder` last through a power cut, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, data: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, document: Any) -> None:
    """JSON as people can read it; NaN and infinities are refused, since JSON has none."""
    write_text(path, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The document, or a ValueError that names the file and the place of the fault."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise ValueError(f"{path}: is a folder, not a JSON file") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not UTF-8 text; write it anew as UTF-8 JSON") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: is not valid JSON ({error.msg}, line {error.lineno}); mend that line") from None
    except RecursionError:
        raise ValueError(f"{path}: is nested too deeply to be read") from None
