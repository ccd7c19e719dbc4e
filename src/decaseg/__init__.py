"""decaseg: trains, judges, shows and deploys 3D U-Nets on Medical Segmentation Decathlon data.

    from decaseg import load, read, write

    predictor = load("bundle")
    labels = predictor(read("patient.nii.gz")).labels

`load` opens a RUN or a BUNDLE, `read` and `write` are for NIfTI files, `read_dataset` opens a DATASET and
`read_evaluation` what `decaseg evaluate` wrote. In notebooks all of them show themselves, small as a cell's value and
in 3D with `.show()`. Nothing is imported before it is used.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ("__version__", "load", "read", "read_dataset", "read_evaluation", "write")

_PLACES = {
    "load": "decaseg.workflows.opening",
    "read": "decaseg.storage.nifti",
    "read_dataset": "decaseg.storage.layouts",
    "read_evaluation": "decaseg.workflows.notebook",
    "write": "decaseg.storage.nifti",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'decaseg' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
