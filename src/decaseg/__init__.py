"""decaseg: trains, judges, shows and deploys 3D U-Nets on Medical Segmentation Decathlon data.

    from decaseg import load, read, write

    predictor = load("bundle")
    labels = predictor(read("patient.nii.gz")).labels

`load` opens a RUN or a BUNDLE, `read` and `write` are for NIfTI files. Nothing is imported before it is used.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ("__version__", "load", "read", "write")

_PLACES = {"load": "decaseg.workflows.models", "read": "decaseg.storage.nifti", "write": "decaseg.storage.nifti"}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'decaseg' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
