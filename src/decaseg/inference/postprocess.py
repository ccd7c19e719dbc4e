"""Cleans label maps: the largest component of a structure, no holes in it, no crumbs. Arrays in, arrays out; no torch.

Where structures overlap (regions painted over each other), each operation works on the whole region: what is taken
from a region is taken from the regions inside of it too, and falls to the region around it. Taking a crumb from BraTS'
enhancing tumour leaves tumour core there; taking a component from the whole tumour leaves background.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decaseg.data.targets import Target
from decaseg.geometry import bounding_box
from decaseg.inference.components import Mask, components, fill_holes
from decaseg.volume import Volume


@dataclass(frozen=True)
class Cleaning:
    """What is done to one structure: crumbs below `min_ml` go, or all but the largest component; then holes are filled.

    Components hang together by 26 neighbours, equally large ones all stay. A hole is what no way along the axes leads
    out of; of structures that exclude each other only background in a hole is filled.
    """

    largest: bool = False
    fill_holes: bool = False
    min_ml: float = 0.0

    @property
    def removes(self) -> bool:
        return self.largest or self.min_ml > 0

    def words(self) -> str:
        """In a few words, `nothing` where it does nothing."""
        parts = ["largest component only"] * self.largest
        parts += [f"components of {self.min_ml:g} ml or more"] * (self.min_ml > 0)
        return ", ".join([*parts, *["holes filled"] * self.fill_holes]) or "nothing"


@dataclass(frozen=True)
class PostProcessing:
    """What is done to each structure, by name; the others stay as they are. `cases`: how many cases chose it."""

    structures: Mapping[str, Cleaning] = field(default_factory=dict)
    cases: int = 0

    @property
    def does_something(self) -> bool:
        return any(cleaning != Cleaning() for cleaning in self.structures.values())

    def words(self) -> str:
        """What it does, in words: `edema: largest component only; core: holes filled`."""
        said = [f"{name}: {c.words()}" for name, c in self.structures.items() if c != Cleaning()]
        return "; ".join(said) or "nothing"

    def clean(self, labels: Volume, target: Target) -> Volume:
        """The label map (1, X, Y, Z) cleaned, on the same grid."""
        return labels.with_array(self.apply(labels.array[0], target, labels.grid.voxel_ml))

    def apply(self, labels: NDArray[np.uint8], target: Target, voxel_ml: float) -> NDArray[np.uint8]:
        """A new (X, Y, Z) label map in the values the target paints. Work and memory are of the box round them."""
        out = labels.copy()
        box = bounding_box(labels > 0)
        if box is None or not self.does_something:
            return out
        inside = out[box.slices]
        clean = self._regions if target.overlapping else self._exclusive
        clean(inside, target, voxel_ml)
        return out

    def to_json(self) -> dict[str, Any]:
        return {"structures": {name: asdict(c) for name, c in self.structures.items()}, "cases": self.cases}

    @classmethod
    def from_json(cls, document: Any, target: Target, where: str) -> PostProcessing:
        """ValueError, naming the file `where`, for a document that does not fit the target."""
        try:
            structures = {str(name): _cleaning(values) for name, values in document["structures"].items()}
            found = cls(structures, int(document["cases"]))
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{where}: is no post-processing ({error}); run decaseg postprocess again") from None
        if strange := set(structures) - set(target.names):
            known = ", ".join(target.names)
            raise ValueError(f"{where}: cleans {sorted(strange)[0]!r}, but the model has {known}; choose it again")
        return found

    def _exclusive(self, labels: NDArray[np.uint8], target: Target, voxel_ml: float) -> None:
        """Labels that exclude each other, cleaned in place: what goes becomes background."""
        for value, cleaning in self._by_value(target):
            if cleaning.removes:
                mask, view = _cut(labels, value)
                view[mask & ~_kept(mask, cleaning, voxel_ml)] = 0
        for value, cleaning in self._by_value(target):
            if cleaning.fill_holes:
                mask, view = _cut(labels, value)
                view[fill_holes(mask) & (view == 0)] = value

    def _by_value(self, target: Target) -> list[tuple[int, Cleaning]]:
        return [
            (v, self.structures[s.name])
            for v, s in zip(target.paint, target.structures, strict=True)
            if s.name in self.structures
        ]

    def _regions(self, labels: NDArray[np.uint8], target: Target, voxel_ml: float) -> None:
        """Regions inside each other, cleaned in place, from the outermost in, and painted anew."""
        sets = target.predicted_sets
        masks = {name: np.isin(labels, values) for name, values in sets.items()}
        for name in target.names:
            cleaning = self.structures.get(name, Cleaning())
            if cleaning.removes:
                masks[name] = _kept(masks[name], cleaning, voxel_ml)
                for inner, values in sets.items():
                    if set(values) < set(sets[name]):
                        masks[inner] &= masks[name]
        labels[:] = 0
        for value, name in zip(target.paint, target.names, strict=True):
            fill = self.structures.get(name, Cleaning()).fill_holes
            labels[fill_holes(masks[name]) if fill else masks[name]] = value


def _cleaning(values: Mapping[str, Any]) -> Cleaning:
    found = Cleaning(**values)
    if not (isinstance(found.largest, bool) and isinstance(found.fill_holes, bool) and 0 <= found.min_ml < np.inf):
        raise ValueError(f"{dict(values)} says nothing that can be done")
    return found


def _cut(labels: NDArray[np.uint8], value: int) -> tuple[Mask, NDArray[np.uint8]]:
    """The mask of one value, cut to the box round it, and the same part of the labels, to be written to."""
    mask = labels == value
    box = bounding_box(mask)
    slices = (slice(0, 0),) * 3 if box is None else box.slices
    return mask[slices], labels[slices]


def _kept(mask: Mask, cleaning: Cleaning, voxel_ml: float) -> Mask:
    """The components that stay."""
    found = components(mask)
    if found.count == 0:
        return mask
    voxels = found.voxels
    stays = voxels * voxel_ml >= cleaning.min_ml * (1 - 1e-9)
    if cleaning.largest:
        stays &= voxels == voxels.max()
    return found.mask(stays)
