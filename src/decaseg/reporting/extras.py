"""Asks for the libraries of the `report` extra when they are needed, not before."""

from __future__ import annotations

import importlib
from typing import Any


def need(module: str) -> Any:
    """The imported module, or a ValueError that says which extra brings it.

    Typed Any: callers that want types import the same name under TYPE_CHECKING.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        package = {"PIL": "pillow", "skimage": "scikit-image"}.get(module.split(".")[0], module.split(".")[0])
        raise ValueError(f"{package} is missing, pictures and reports need it; install decaseg[report]") from None
