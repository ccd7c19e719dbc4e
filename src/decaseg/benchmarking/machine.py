"""What a measurement was made on and with: processor, instructions, load, versions, commit."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import decaseg
from decaseg.storage.processor import cpu_flags
from decaseg.storage.provenance import provenance

# What lower precisions need to be fast: Linux's names of processor features -> how people call them.
INSTRUCTIONS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_bf16": "AVX-512 bf16",
    "avx512_vnni": "AVX-512 VNNI",
    "avx_vnni": "AVX VNNI",
    "amx_bf16": "AMX bf16",
    "amx_int8": "AMX int8",
}


def record() -> dict[str, Any]:
    """A JSON document: provenance with cores, instructions, load and commit."""
    document = provenance()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    document["machine"] |= {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "instructions": instructions(),
        "load_before": None if load is None else round(load, 2),
    }
    return document | {"commit": commit()}


def instructions() -> list[str]:
    """Those of INSTRUCTIONS that this processor has, empty where the system does not tell."""
    flags = cpu_flags()
    return [name for flag, name in INSTRUCTIONS.items() if flag in flags]


def commit() -> str | None:
    """The commit that decaseg runs from: of its own checkout, else of the repository pip installed it from."""
    package = Path(decaseg.__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(package), *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    with suppress(OSError, subprocess.CalledProcessError):
        if git("ls-files", "__init__.py"):
            return git("rev-parse", "--short=10", "HEAD") + (" with changes" if git("status", "-s", ".") else "")
    with suppress(metadata.PackageNotFoundError, ValueError, AttributeError):
        origin = json.loads(metadata.distribution("decaseg").read_text("direct_url.json") or "{}")
        found = origin.get("vcs_info", {}).get("commit_id")
        return str(found)[:10] if found else None
    return None
