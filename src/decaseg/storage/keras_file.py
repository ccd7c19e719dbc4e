"""What a Keras HDF5 file holds, as numpy arrays; the file is read by another process, see `hdf5`."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC = b"\x89HDF\r\n\x1a\n"
READING_S = 300
SAVED_MODEL = (
    "open it where TensorFlow is installed and save it as one file: "
    "tensorflow.keras.models.load_model(FOLDER, compile=False).save('model.hdf5')"
)


@dataclass(frozen=True)
class KerasFile:
    """Layer -> weight name (kernel, bias, gamma, …) -> float32 array, layers in the order Keras lists them.

    `config` is the architecture as Keras describes it, None where only weights were saved; `training` what it was
    compiled with. `keras_version` is empty where the file does not say.
    """

    layers: Mapping[str, Mapping[str, NDArray[np.float32]]]
    config: Mapping[str, Any] | None
    training: Mapping[str, Any] | None
    keras_version: str


def read_keras(path: Path) -> KerasFile:
    """The layers of a file that Keras' `save` or `save_weights` wrote. ValueError, naming it, for any other file.

    Nothing in the file is executed, and a file that crashes libhdf5 crashes another process only.
    """
    _look(path)
    texts, found = _parsed(path, _answer(path))
    order = [name for name in dict.fromkeys(texts["order"]) if name in found]
    order += [name for name in found if name not in order]
    return KerasFile(
        {name: found[name] for name in order},
        _json(path, "model_config", texts["model_config"]),
        _json(path, "training_config", texts["training_config"]),
        str(texts["keras_version"] or ""),
    )


def _look(path: Path) -> None:
    """ValueError for what can be told from the first bytes, with the way to a file that can be read."""
    if path.is_dir():
        saved = (path / "saved_model.pb").is_file()
        raise ValueError(f"{path}: is a folder" + (f" of TensorFlow's SavedModel; {SAVED_MODEL}" if saved else ""))
    if not path.exists():
        raise ValueError(f"{path}: there is no such file; check the name")
    if not path.is_file():
        raise ValueError(f"{path}: is no file that can be read; name a .hdf5 file")
    with path.open("rb") as file:
        start = file.read(8)
    if start[:2] == b"PK":
        raise ValueError(f"{path}: is Keras 3's .keras archive; load it in Keras and save it as model.hdf5")
    if start != MAGIC:
        raise ValueError(f"{path}: is no HDF5 file; name the .hdf5 or .h5 that Keras saved")
    if find_spec("h5py") is None:
        raise ValueError("h5py is missing, which reads Keras' files; install decaseg[keras]")


def _answer(path: Path) -> bytes:
    """What the reading process wrote. ValueError where it was ended."""
    # -P: no module is taken from the folder the user stands in. Plugins of libhdf5 would be code: "::" forbids them.
    environment = os.environ | {"HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    environment["HDF5_USE_FILE_LOCKING"] = "FALSE"  # nothing is written, and some network folders cannot lock
    environment.pop("HDF5_VOL_CONNECTOR", None)
    package = str(Path(__file__).parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package, environment.get("PYTHONPATH")]))
    command = [sys.executable, "-P", "-m", "decaseg.storage.hdf5", str(path.resolve())]
    try:
        done = subprocess.run(command, capture_output=True, env=environment, timeout=READING_S, check=False)
    except subprocess.TimeoutExpired:
        raise ValueError(f"{path}: is damaged: reading it did not end in {READING_S} s; copy it again") from None
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise ValueError(f"{path}: is damaged: reading it ended with {name}; copy it again from where it was made")
    if done.returncode > 0:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise ValueError(f"{path}: could not be read ({' '.join(last)[:200]}); copy it again")
    return done.stdout


def _parsed(path: Path, answer: bytes) -> tuple[dict[str, Any], dict[str, dict[str, NDArray[np.float32]]]]:
    """The texts and arrays of an answer; ValueError with the words of one that refuses the file."""
    place = 8 + int.from_bytes(answer[:8], "little")
    document = json.loads(answer[8:place])
    if "error" in document:
        raise ValueError(f"{path}: {document['error']}; name a file that Keras' save or save_weights wrote")
    found: dict[str, dict[str, NDArray[np.float32]]] = {}
    for layer, weights in document["layers"].items():
        found[layer] = {}
        for name, shape in weights.items():
            count = math.prod(shape)
            found[layer][name] = np.frombuffer(answer, "<f4", count, place).reshape(shape)
            place += 4 * count
    return document["texts"], found


def _json(path: Path, name: str, text: str | None) -> Mapping[str, Any] | None:
    if text is None:
        return None
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{path}: its {name} is not the JSON that Keras writes; copy the file again") from None
    return document if isinstance(document, dict) else None
