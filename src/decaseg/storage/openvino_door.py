"""The one door to OpenVINO and NNCF: with it, nothing is reported to anybody.

Both report their use over the internet (package openvino_telemetry) unless somebody opted out. Without that package
they keep silent, so here it cannot be found: for this process only, and nothing is written to the user's home.
"""

from __future__ import annotations

import sys
from typing import Any


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


def _be_silent() -> None:
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
