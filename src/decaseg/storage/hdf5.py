"""Reads the layers of a Keras HDF5 file; the one door to h5py, and a program of its own: `python -m … FILE`.

libhdf5 is C code that damaged files have crashed before, so `keras_file` runs this in a process of its own, with
limits, and reads what it writes to standard output: 8 bytes for the length of a JSON document, the document, then the
arrays it lists, float32, one after the other. A file that is refused gives {"error": …} instead.

Nothing outside the file is opened: links other than hard ones, external storage and virtual data sets are refused, and
so are filters other than gzip, shuffle and checksums (others would be plugins, that is code). Sizes are looked at
before anything is read.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

MAX_OBJECTS = 5000
MAX_DEPTH = 6
MAX_AXES = 5
MAX_VALUES = 1 << 28  # of all arrays together: 1 GiB of float32, ten times the largest of Intel's networks
MAX_TEXT = 1 << 24  # bytes of an attribute
ADDRESS_SPACE = 8 << 30  # bytes
PROCESSOR_S = 120
FILTERS = {1, 2, 3}  # gzip, shuffle, Fletcher's checksum
TEXTS = ("keras_version", "backend", "model_config", "training_config")

Arrays = dict[str, dict[str, NDArray[np.float32]]]


class RefusedError(ValueError):
    """The file is not one that can be read; its words follow the file's name."""


def read(path: str) -> tuple[dict[str, Any], Arrays]:
    """Texts of the file ({"order": names of all layers, "keras_version": …}) and layer -> weight -> array.

    Weights are named as Keras names them, without the layer and `:0`: kernel, bias, gamma, … RefusedError says what is
    wrong; h5py's own exceptions and crashes are the caller's to expect.
    """
    import h5py

    with h5py.File(path, "r") as file:
        hidden = _links(h5py, file)
        weights = _hard(h5py, file, "model_weights") if "model_weights" in hidden else file
        if not isinstance(weights, h5py.Group):
            raise RefusedError("model_weights is no group")
        if weights is file and {"layers", "_layer_checkpoint_dependencies"} & set(hidden):
            raise RefusedError("is Keras 3's .weights.h5, which keeps no layer names; save the whole model as .h5")
        texts: dict[str, Any] = {name: _text(h5py, file, name) for name in TEXTS}
        for name in ("keras_version", "backend"):
            texts[name] = texts[name] or _text(h5py, weights, name)
        texts["order"] = _names(h5py, weights, "layer_names")
        arrays: Arrays = {}
        budget = _Budget()
        for layer in _links(h5py, weights):
            group = _hard(h5py, weights, layer)
            if not isinstance(group, h5py.Group):
                raise RefusedError(f"{layer} is no group: Keras writes a group a layer")
            found: dict[str, NDArray[np.float32]] = {}
            for place, dataset in _datasets(h5py, group, budget, 0):
                name = place[-1].removesuffix(":0")
                if name in found:
                    raise RefusedError(f"layer {layer} holds {name} twice: a model inside a model")
                found[name] = _array(dataset, f"{layer}/{'/'.join(place)}", budget)
            arrays[layer] = found
        return texts, arrays


class _Budget:
    """What may still be read."""

    def __init__(self) -> None:
        self.objects, self.values = MAX_OBJECTS, MAX_VALUES

    def object(self) -> None:
        self.objects -= 1
        if self.objects < 0:
            raise RefusedError(f"holds more than {MAX_OBJECTS} objects")

    def array(self, values: int) -> None:
        self.values -= values
        if self.values < 0:
            raise RefusedError(f"holds more than {MAX_VALUES} weights")


def _links(h5py: Any, group: Any) -> list[str]:
    count = group.id.get_num_objs()
    if count > MAX_OBJECTS:
        raise RefusedError(f"holds more than {MAX_OBJECTS} objects")
    return list(group)


def _hard(h5py: Any, group: Any, name: str) -> Any:
    """The member, after a look at the link: following a soft or external one would open other places."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise RefusedError(f"{name} is a link to somewhere else, which is not followed")
    return group[name]


def _datasets(h5py: Any, group: Any, budget: _Budget, depth: int) -> Iterator[tuple[tuple[str, ...], Any]]:
    if depth > MAX_DEPTH:
        raise RefusedError(f"holds groups more than {MAX_DEPTH} deep")
    for name in _links(h5py, group):
        budget.object()
        member = _hard(h5py, group, name)
        if isinstance(member, h5py.Group):
            for place, dataset in _datasets(h5py, member, budget, depth + 1):
                yield (name, *place), dataset
        elif isinstance(member, h5py.Dataset):
            yield (name,), member
        else:
            raise RefusedError(f"{name} is neither a group nor an array")


def _array(dataset: Any, place: str, budget: _Budget) -> NDArray[np.float32]:
    creation = dataset.id.get_create_plist()
    if creation.get_external_count() or dataset.is_virtual:
        raise RefusedError(f"{place} keeps its values in another file, which is not opened")
    if any(creation.get_filter(i)[0] not in FILTERS for i in range(creation.get_nfilters())):
        raise RefusedError(f"{place} is packed in a way that Keras does not use")
    if dataset.dtype.kind != "f" or dataset.dtype.itemsize > 8:
        raise RefusedError(f"{place} holds {dataset.dtype}, not floating-point numbers")
    shape = dataset.shape
    if shape is None or len(shape) > MAX_AXES:
        raise RefusedError(f"{place} has the shape {shape}, at most {MAX_AXES} axes are known")
    values = 1
    for length in shape:
        values *= int(length)
    budget.array(values)
    with np.errstate(over="ignore"):  # what does not fit in float32 becomes infinite, which is refused later
        found: NDArray[np.float32] = np.asarray(dataset[()], dtype=np.float32)
    return found


def _text(h5py: Any, group: Any, name: str) -> str | None:
    """The attribute as text, None where there is none."""
    if name not in group.attrs:
        return None
    _bounded(h5py, group, name)
    value = group.attrs[name]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise RefusedError(f"its attribute {name} is no text")
    return value


def _names(h5py: Any, group: Any, name: str) -> list[str]:
    """A list of names; Keras cuts one that is too long for an attribute into `name`0, `name`1 …"""
    keys = [name] if name in group.attrs else []
    while not keys or keys != [name]:
        key = f"{name}{len(keys)}"
        if key not in group.attrs or len(keys) > MAX_OBJECTS:
            break
        keys.append(key)
    found: list[str] = []
    for key in keys:
        _bounded(h5py, group, key)
        values = np.atleast_1d(group.attrs[key])
        found += [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values]
    return found


def _bounded(h5py: Any, group: Any, name: str) -> None:
    if group.attrs.get_id(name).get_storage_size() > MAX_TEXT:
        raise RefusedError(f"its attribute {name} is larger than {MAX_TEXT} bytes")


def limit() -> None:
    """Bounds this process's memory and time, where the system can, and switches core dumps off."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        for what, most in (
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_AS, ADDRESS_SPACE),
            (resource.RLIMIT_CPU, PROCESSOR_S),
            (resource.RLIMIT_FSIZE, 0),
        ):
            _, hard = resource.getrlimit(what)
            resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def answer(path: str, out: IO[bytes]) -> None:
    """Writes what `read` gives, or its error, as `keras_file` reads it."""
    arrays: Arrays = {}
    document: dict[str, Any]
    try:
        texts, arrays = read(path)
        layers = {layer: {name: list(a.shape) for name, a in found.items()} for layer, found in arrays.items()}
        document = {"texts": texts, "layers": layers}
    except RefusedError as error:
        document = {"error": str(error)}
    except (MemoryError, RecursionError) as error:
        document = {"error": f"asks for more than is allowed ({type(error).__name__})"}
    except Exception as error:  # h5py turns what libhdf5 says into exceptions of many types
        document = {"error": f"is damaged, or no HDF5 file ({' '.join(str(error).split())[:100]})"}
    header = json.dumps(document).encode()
    out.write(len(header).to_bytes(8, "little") + header)
    for found in arrays.values():
        for array in found.values():
            out.write(np.ascontiguousarray(array, "<f4").tobytes())


if __name__ == "__main__":
    import h5py  # noqa: F401  before the limits, which its libraries need not fit

    limit()
    answer(sys.argv[1], sys.stdout.buffer)
