"""The one door to OpenVINO and NNCF: with it, nothing is reported to anybody.

Both report their use over the internet (package openvino_telemetry) unless somebody opted out. Without that package
they keep silent, so here it cannot be found: for this process only, and nothing is written to the user's home.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

from decaseg.storage import no_memory

PROBE_BYTES = 1 << 20


def import_openvino() -> Any:
    """The module `openvino`. ImportError where it is not installed."""
    _be_silent()
    import openvino

    return openvino


def import_nncf() -> Any:
    """The module `nncf`, which takes seconds. ImportError where it or OpenVINO is not installed."""
    import_openvino()
    import nncf

    return nncf


def save_model(model: Any, path: Path, compress_to_fp16: bool = False) -> None:
    """Writes `path` (.xml) and the .bin beside it. OSError where the disk is full or broken: OpenVINO says only that it
    failed."""
    try:
        import_openvino().save_model(model, str(path), compress_to_fp16=compress_to_fp16)
    except RuntimeError as error:
        if no_memory.refused(error):
            raise MemoryError(str(error)) from error
        with path.with_suffix(".probe").open("wb") as probe:  # what is wrong is wrong with this file too
            probe.write(bytes(PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
        path.with_suffix(".probe").unlink()
        said = " ".join(str(error).split())[-120:]
        raise OSError(errno.EIO, f"OpenVINO could not write it (… {said})", str(path)) from error


def _be_silent() -> None:
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
