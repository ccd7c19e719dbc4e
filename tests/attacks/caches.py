"""Damaged cache entries: noticed and made anew, never trained on; beside .npy, torch.save and safetensors.

Every few inputs the whole way is gone: `prepare_cases`, which training reads, must give the arrays of sound entries.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decaseg.data.cases import TrainingCase, prepare_cases
from decaseg.data.normalise import Normalisation
from decaseg.data.preprocess import Preprocessing
from decaseg.storage.cache import Cache
from decaseg.storage.dataset import Dataset
from decaseg.storage.layouts import read_dataset
from tests.attacks.campaign import Attack, Bad
from tests.synthetic import write_dataset

WHOLE_WAY_EVERY = 5


def damage(data: bytes, rng: np.random.Generator) -> bytes:
    """A flipped bit, a cut, or a block of zeros where there were none; never the same bytes."""
    kind = int(rng.integers(0, 4))
    made = bytearray(data)
    if kind <= 1:
        place = int(rng.integers(0, len(made)))
        made[place] ^= 1 << int(rng.integers(0, 8))
    elif kind == 2:
        del made[int(rng.integers(0, len(made))) :]
    else:
        place = int(rng.integers(0, len(made)))
        size = int(rng.choice([16, 512, 4096]))
        made[place : place + size] = bytes(min(size, len(made) - place))
    if bytes(made) == data:
        made[-1] ^= 1
    return bytes(made)


def same(one: TrainingCase, other: TrainingCase) -> bool:
    """The same arrays and places."""
    places = one.places.keys() == other.places.keys() and all(
        np.array_equal(one.places[value], other.places[value]) for value in one.places
    )
    return np.array_equal(one.image, other.image) and np.array_equal(one.label, other.label) and places


class OfTheCache:
    """A data set's cache, a file of which is damaged."""

    def __init__(self, folder: Path) -> None:
        self.dataset: Dataset = read_dataset(write_dataset(folder / "data", cases=2, shape=(14, 16, 12)))
        self.how = Preprocessing(("MRI",), (0,), 1, (1.0, 1.0, 1.0), (Normalisation("zscore"),))
        self.cache = Cache(folder / "cache")
        self.sound = self.prepared()
        self.right = [TrainingCase(c.case, np.array(c.image), np.array(c.label), c.places) for c in self.sound]
        self.files = sorted(path for path in self.cache.folder.rglob("*") if path.is_file())

    def prepared(self) -> list[TrainingCase]:
        """What training reads."""
        return prepare_cases(self.dataset.training, self.how, self.cache, threads=1)

    def attacked(self, rng: np.random.Generator, whole_way: bool) -> str:
        path = self.files[int(rng.integers(0, len(self.files)))]
        good = path.read_bytes()
        path.unlink()  # what is mapped elsewhere keeps its bytes
        path.write_bytes(damage(good, rng))
        try:
            if self.cache.get(path.parent.name) is not None:
                raise Bad("took damage", f"the entry was opened with a damaged {path.name}")
            if whole_way:
                if not all(same(*pair) for pair in zip(self.prepared(), self.right, strict=True)):
                    raise Bad("trained on damage", path.name)
                if path.read_bytes() != good:
                    raise Bad("not rebuilt", path.name)
        finally:
            path.write_bytes(good)
        return "noticed, made anew" if whole_way else "noticed"


def by_numpy(path: Path) -> NDArray:
    return np.array(np.load(path, mmap_mode="r"))


def by_torch(path: Path) -> NDArray:
    import torch

    return torch.load(path, weights_only=True)["image"].numpy()


def by_safetensors(path: Path) -> NDArray:
    from safetensors.numpy import load_file

    return load_file(path)["image"]


class Peers:
    """The same array as each of the peers' files, damaged and read back."""

    def __init__(self, folder: Path, image: NDArray) -> None:
        import torch
        from safetensors.numpy import save

        npy, pt = io.BytesIO(), io.BytesIO()
        np.save(npy, image)
        torch.save({"image": torch.from_numpy(np.ascontiguousarray(image))}, pt)
        self.folder, self.image = folder, image
        self.files: dict[str, tuple[bytes, Callable[[Path], NDArray]]] = {
            "numpy.load of .npy": (npy.getvalue(), by_numpy),
            "torch.load (MONAI's PersistentDataset)": (pt.getvalue(), by_torch),
            "safetensors": (save({"image": np.ascontiguousarray(image)}), by_safetensors),
        }

    def attacked(self, name: str, rng: np.random.Generator) -> str:
        data, read = self.files[name]
        path = self.folder / "peer"
        path.write_bytes(damage(data, rng))
        found = read(path)
        if found.shape != self.image.shape or not np.array_equal(found, self.image):
            raise Bad("took damage", f"{name}: other values, and no word")
        return "read, values whole"  # the damage lay in padding or in a name


class Row:
    """One damaged file."""

    refusals: tuple[type[Exception], ...] = ()

    def __init__(self, folder: Path, peers: bool) -> None:
        self.entries = OfTheCache(folder)
        self.peers = Peers(folder, np.array(self.entries.right[0].image)) if peers else None

    def __call__(self, index: int, rng: np.random.Generator) -> Iterator[Attack]:
        yield Attack("decaseg", lambda: self.entries.attacked(rng, index % WHOLE_WAY_EVERY == 0))
        for name in self.peers.files if self.peers is not None else ():
            yield Attack(name, lambda name=name: self.peers.attacked(name, rng), peer=True)
