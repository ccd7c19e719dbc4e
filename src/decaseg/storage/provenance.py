"""What made an artefact: versions, command, machine, time. No patient data."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from decaseg import __version__
from decaseg.storage.processor import processor_name

PACKAGES = ("torch", "numpy", "scipy", "nibabel", "openvino", "nncf", "onnxruntime")


def provenance(**more: Any) -> dict[str, Any]:
    """A JSON document; `more` adds what the caller knows (seed, data hash)."""
    versions = {"decaseg": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": ["decaseg", *sys.argv[1:]],
        "versions": versions,
        "machine": {
            "system": platform.platform(),
            "processor": processor_name(),
            "memory_gib": memory_gib(),
        },
        **more,
    }


def memory_gib() -> float | None:
    """Installed memory, where the system tells."""
    return _meminfo_gib("MemTotal")


def available_memory_gib() -> float | None:
    """Memory a new program could use now without swapping, where the system tells."""
    return _meminfo_gib("MemAvailable")


def _meminfo_gib(name: str) -> float | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith(name + ":"):
                return round(int(line.split()[1]) / 2**20, 1)
    except OSError:
        pass
    return None


def without_folders(record: Mapping[str, Any]) -> dict[str, Any]:
    """A provenance record that may be handed on: of every path only its last name, since folders can name patients."""
    told = dict(record)
    if isinstance(told.get("command"), list):
        told["command"] = [_last_name(str(word)) for word in told["command"]]
    for key in ("dataset", "start"):
        if isinstance(told.get(key), str):
            told[key] = _last_name(told[key])
    if isinstance(told.get("start"), Mapping):  # of a fine-tuned RUN: the RUN it went on from, with its hashes
        told["start"] = {name: _last_name(v) if name == "run" else v for name, v in told["start"].items()}
    return told


def _last_name(word: str) -> str:
    return word.rstrip("/\\").replace("\\", "/").rpartition("/")[2]
