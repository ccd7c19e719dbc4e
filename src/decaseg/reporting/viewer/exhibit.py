"""What the viewer shows of a case: facts as JSON, and layers as NIfTI files that NiiVue reads as they are meant."""

from __future__ import annotations

import tempfile
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decaseg.reporting.paint import CONFUSED, VERDICTS, Colour, judge, structure_colour
from decaseg.reporting.planes import Window, robust_window, tilt_deg
from decaseg.storage import nifti
from decaseg.volume import Grid, Volume

MOST_STRUCTURES = 64  # an image taken for a label map has thousands of values
MOST_VOXELS = 80_000_000  # a texture of 4 bytes each: what ordinary graphics can hold beside three label maps
KEPT_CASES = 2  # the one that is looked at and its neighbour
PALE = 0.4  # how much white the truth's colours have, to be told from the prediction's
READ_BY_NIIVUE = ("uint8", "int16", "uint16", "float32")


@dataclass(frozen=True)
class Case:
    """The files of one case, and its Dice by structure where it was scored."""

    name: str
    image: Path
    prediction: Path | None = None
    truth: Path | None = None
    dice: Mapping[str, float] = field(default_factory=dict)

    @property
    def mean_dice(self) -> float | None:
        return sum(self.dice.values()) / len(self.dice) if self.dice else None


@dataclass(frozen=True)
class Exhibition:
    """All that one viewer shows: cases in their order, names of label values and of channels as far as known."""

    title: str
    cases: Sequence[Case]
    names: Mapping[int, str] = field(default_factory=dict)
    channels: Sequence[str] = ()
    channel: int = 0  # shown first
    start: int = 0  # the case to begin with

    def to_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "start": self.start,
            "cases": [{"name": c.name, "mean_dice": c.mean_dice, "dice": dict(c.dice)} for c in self.cases],
        }


@dataclass(frozen=True)
class Part:
    """A class of a layer: the value its voxels have there, and what it means."""

    value: int
    name: str
    colour: Colour
    volume_ml: float


@dataclass(frozen=True, eq=False)
class Layer:
    """A label map (X, Y, Z) uint8 whose values are those of its parts."""

    key: str
    title: str
    array: NDArray[np.uint8]
    parts: tuple[Part, ...]


@dataclass(frozen=True, eq=False)
class Shown:
    """A case, read and laid out: the image (C, X, Y, Z), its layers, and the step between voxels that are shown."""

    case: Case
    image: Volume
    layers: tuple[Layer, ...]
    channels: tuple[str, ...]
    channel: int
    step: tuple[int, int, int]

    @cached_property
    def affine(self) -> NDArray[np.float64]:
        """Of the voxels that are shown: every step-th, so the first stays where it is."""
        return self.image.affine @ np.diag([*self.step, 1.0])

    def image_file(self, channel: int) -> bytes:
        return encoded(self.thinned(self.image.array[channel]), self.affine)

    def layer_file(self, key: str) -> bytes:
        layer = next(layer for layer in self.layers if layer.key == key)
        return encoded(self.thinned(layer.array), self.affine)

    def thinned(self, array: NDArray) -> NDArray:
        """Every step-th voxel of an (X, Y, Z) array along each axis."""
        a, b, c = self.step
        return array[::a, ::b, ::c]

    def to_json(self) -> dict[str, Any]:
        """What the page needs to lay the case out and to put what it shows into words."""
        grid = self.image.grid
        windows = [robust_window(channel) for channel in self.image.array]
        return {
            "name": self.case.name,
            "shape": list(grid.shape),
            "spacing_mm": [round(s, 4) for s in grid.spacing_mm],
            "orientation": grid.orientation,
            "tilt_deg": round(tilt_deg(grid), 1),
            "step": list(self.step),
            "centre_mm": self._centre_mm(),
            "found_z_mm": self._found_z_mm(),
            "body_mm": self._body_mm(windows[self.channel]),
            "channel": self.channel,
            "channels": [{"name": name, "low": w.low, "high": w.high}
                         for name, w in zip(self.channels, windows, strict=True)],
            "layers": [{"key": layer.key, "title": layer.title, "parts": [vars(part) for part in layer.parts]}
                       for layer in self.layers],
        }  # fmt: skip

    def _found_z_mm(self) -> list[float]:
        """From foot to head: where the structures begin and end and an eighth beyond; all of it without any."""
        axis = next(i for i, (world, _) in enumerate(self.image.grid.axes) if world == 2)
        count = self.image.shape[axis]
        others = tuple(i for i in range(3) if i != axis)
        rows = np.flatnonzero(np.any([layer.array.any(axis=others) for layer in self.layers], axis=0))
        more = max(2, (rows[-1] - rows[0]) // 8) if rows.size else 0
        ends = (max(0, rows[0] - more), min(count - 1, rows[-1] + more)) if rows.size else (0, count - 1)
        places = [[float(end) if i == axis else (n - 1) / 2 for i, n in enumerate(self.image.shape)] for end in ends]
        return sorted(round(float((self.image.affine @ [*place, 1.0])[2]), 2) for place in places)

    def _body_mm(self, window: Window) -> dict[str, list[float]]:
        """Middle and size, along x, y and z, of what is not dark: what a picture should be filled with."""
        thin = tuple(max(1, n // 96) for n in self.image.shape)
        array = self.image.array[self.channel][:: thin[0], :: thin[1], :: thin[2]]
        lit = array > window.low + 0.05 * (window.high - window.low)
        ends = []
        for axis in range(3):  # a slice counts when 1 in 200 of its voxels is lit: noise does not
            rows = np.flatnonzero(lit.mean(axis=tuple(i for i in range(3) if i != axis)) > 0.005)
            last = self.image.shape[axis] - 1
            ends.append((rows[0] * thin[axis], min(last, rows[-1] * thin[axis])) if rows.size else (0, last))
        corners = np.array([[x, y, z, 1.0] for x in ends[0] for y in ends[1] for z in ends[2]]) @ self.image.affine.T
        low, high = corners.min(axis=0)[:3], corners.max(axis=0)[:3]
        return {"centre": [float(v) for v in (low + high) / 2], "size": [float(v) for v in high - low]}

    def _centre_mm(self) -> list[float]:
        """A voxel inside the structures, on the axial slice with most of them; the grid's middle without any."""
        axis = next(i for i, (world, _) in enumerate(self.image.grid.axes) if world == 2)
        voxel = [(n - 1) / 2 for n in self.image.shape]
        for layer in reversed(self.layers):  # truth before prediction
            if layer.key != "verdict" and layer.array.any():
                areas = (layer.array > 0).sum(axis=tuple(i for i in range(3) if i != axis))
                largest = np.flatnonzero(areas == areas.max())
                index = int(largest[len(largest) // 2])
                places = np.argwhere(np.take(layer.array, index, axis) > 0)
                nearest = places[np.argmin(((places - places.mean(axis=0)) ** 2).sum(axis=1))]
                voxel = [float(v) for v in np.insert(nearest, axis, index)]
                break
        return [round(float(v), 3) for v in (self.image.affine @ [*voxel, 1.0])[:3]]


class Cabinet:
    """Lays out the cases of an exhibition as they are asked for and keeps the last few; safe for several threads."""

    def __init__(self, exhibition: Exhibition) -> None:
        self.exhibition = exhibition
        self._kept: OrderedDict[int, Shown] = OrderedDict()
        self._lock = threading.Lock()

    def shown(self, index: int) -> Shown:
        with self._lock:
            if index not in self._kept:
                self._kept[index] = show(self.exhibition.cases[index], self.exhibition)
                while len(self._kept) > KEPT_CASES:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(index)
            return self._kept[index]


def show(case: Case, exhibition: Exhibition, most_voxels: int | None = None) -> Shown:
    """Reads a case, thinned to `most_voxels` (default: what graphics hold).

    ValueError names the file that cannot be read or does not lie on the image's grid.
    """
    image = nifti.read(case.image)
    paths = (("prediction", case.prediction), ("truth", case.truth))
    maps = {key: label_map(path, image) for key, path in paths if path is not None}
    return lay_out(case, image, maps, exhibition, most_voxels)


def lay_out(
    case: Case, image: Volume, maps: Mapping[str, Volume], exhibition: Exhibition, most_voxels: int | None = None
) -> Shown:
    """The same of volumes that were read: `maps` are `prediction` and `truth`, label maps (1, X, Y, Z) uint8."""
    named = named_values(list(maps.values()), exhibition.names, case)
    values, names = list(named), list(named.values())
    table = np.zeros(256, np.uint8)
    table[values] = np.arange(1, len(values) + 1)
    found = {key: table[volume.array[0]] for key, volume in maps.items()}
    layers = [_layer(key, array, names, image.grid) for key, array in found.items()]
    if len(found) == 2:
        layers.append(_verdict(found["prediction"], found["truth"], len(values), image.grid))
    count = image.array.shape[0]
    channels = tuple(exhibition.channels) if len(exhibition.channels) == count else _numbered(count)
    channel = exhibition.channel if exhibition.channel < count else 0
    return Shown(case, image, tuple(layers), channels, channel, _step(image, most_voxels or MOST_VOXELS))


def encoded(array: NDArray, affine: NDArray[np.float64]) -> bytes:
    """A (X, Y, Z) array as an uncompressed NIfTI file whose forms both say the affine, in millimetres.

    Other programs' files are not handed on as they are: NiiVue prefers the form with the larger code, we the sform.
    """
    if array.dtype.name not in READ_BY_NIIVUE:
        array = array.astype(np.float32)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        array = np.nan_to_num(array, posinf=0.0, neginf=0.0)
    with tempfile.TemporaryDirectory(prefix="decaseg-view-") as folder:  # of this user alone, gone at once
        path = Path(folder) / "layer.nii"
        nifti.write(path, Volume.of(array, affine))
        return path.read_bytes()


def label_map(path: Path, image: Volume) -> Volume:
    """A label map (1, X, Y, Z) uint8 on the image's grid; ValueError, naming the file, for anything else."""
    volume = nifti.read(path)
    if volume.array.shape[0] != 1:
        raise ValueError(f"{path}: has {volume.array.shape[0]} channels; a label map has one")
    check_grid(path, volume.grid, image.grid)
    whole = volume.array if volume.array.dtype.kind in "iu" else np.rint(volume.array)
    low, high = whole.min(), whole.max()
    if not (low >= 0 and high <= 255):
        raise ValueError(f"{path}: holds values from {low} to {high}; labels are whole numbers from 0 to 255")
    return image.with_array(whole.astype(np.uint8))


def check_grid(path: Path, grid: Grid, image: Grid) -> None:
    """ValueError unless a label map lies where its image lies: laid over it, it would mark the wrong place."""
    if grid.shape != image.shape:
        raise ValueError(f"{path}: has shape {grid.shape}, its image {image.shape}; both must be on one grid")
    if (far := image.distance_mm(grid.affine)) > 0.5 * min(image.spacing_mm):
        raise ValueError(
            f"{path}: its affine lays it up to {far:.3g} mm from its image; write it with the image's own affine"
        )


def named_values(maps: Sequence[Volume], names: Mapping[int, str], case: Case) -> dict[int, str]:
    """Every value that is named or found, with its name or `label 7`, in order; 0 is left out."""
    found = {int(v) for volume in maps for v in np.flatnonzero(np.bincount(volume.array.ravel(), minlength=256))}
    if len(found) > MOST_STRUCTURES:
        path = case.prediction or case.truth
        raise ValueError(f"{path}: holds {len(found)} different values; a label map is needed, not an image")
    known = {value for value in names if 0 < value < 256}
    return {value: names.get(value, f"label {value}") for value in sorted((found | known) - {0})}


def _layer(key: str, array: NDArray[np.uint8], names: Sequence[str], grid: Grid) -> Layer:
    counts = np.bincount(array.ravel(), minlength=len(names) + 1)
    colours = [structure_colour(i) for i in range(len(names))]
    if key == "truth":
        colours = [_pale(colour) for colour in colours]
    parts = tuple(Part(i, name, colour, _ml(counts[i], grid))
                  for i, (name, colour) in enumerate(zip(names, colours, strict=True), 1))  # fmt: skip
    return Layer(key, key.capitalize(), array, parts)


def _verdict(prediction: NDArray[np.uint8], truth: NDArray[np.uint8], structures: int, grid: Grid) -> Layer:
    """What is right, false and missed; a wrong structure is possible only where there are several."""
    array = judge(prediction, truth)
    counts = np.bincount(array.ravel(), minlength=CONFUSED + 1)
    parts = tuple(Part(value, words, colour, _ml(counts[value], grid))
                  for value, (words, colour) in VERDICTS.items() if structures > 1 or value != CONFUSED)  # fmt: skip
    return Layer("verdict", "Right or wrong", array, parts)


def _ml(voxels: int, grid: Grid) -> float:
    return round(float(voxels) * grid.voxel_ml, 3)


def _pale(colour: Colour) -> Colour:
    r, g, b = (round(c + (255 - c) * PALE) for c in colour)
    return r, g, b


def _numbered(count: int) -> tuple[str, ...]:
    return ("image",) if count == 1 else tuple(f"channel {i}" for i in range(1, count + 1))


def _step(image: Volume, most_voxels: int) -> tuple[int, int, int]:
    """Every how-manieth voxel is shown along each axis: the finest axis is thinned first until the picture fits."""
    step = [1, 1, 1]
    while np.prod([-(-n // s) for n, s in zip(image.shape, step, strict=True)]) > most_voxels:
        step[int(np.argmin([mm * s for mm, s in zip(image.spacing_mm, step, strict=True)]))] += 1
    return step[0], step[1], step[2]
