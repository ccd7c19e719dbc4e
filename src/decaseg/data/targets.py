"""What a network is asked to outline: every label, the whole of them, or BraTS' overlapping regions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decaseg.storage.dataset import Region

TARGETS = ("all", "whole", "brats", "regions")
IGNORED = 255  # the class of voxels that do not train


@dataclass(frozen=True)
class Structure:
    """A named part of the anatomy: the voxels whose label is one of `labels`."""

    name: str
    labels: tuple[int, ...]


@dataclass(frozen=True)
class Target:
    """The structures, in the order of the network's outputs, and how a label map is painted from them.

    `kind` is `all` (one softmax over background and structures), `whole`, `brats` or `regions` (a sigmoid per
    structure; they may overlap), or `apart`, of imported models only: labels, each with its own sigmoid. `paint`
    holds, per structure, the label value written where it is found; overlapping structures are painted in order, the
    last on top (BraTS: whole tumour, then core, then enhancing). Voxels of the value `ignored` do not train.
    """

    kind: str
    structures: tuple[Structure, ...]
    paint: tuple[int, ...]
    ignored: int | None = None

    @property
    def overlapping(self) -> bool:
        """True: independent sigmoid outputs. False: one softmax with background as channel 0."""
        return self.kind != "all"

    @property
    def out_channels(self) -> int:
        return len(self.structures) + (0 if self.overlapping else 1)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(structure.name for structure in self.structures)

    @property
    def label_sets(self) -> dict[str, tuple[int, ...]]:
        """Structure name -> the label values of the data set that belong to it."""
        return {structure.name: structure.labels for structure in self.structures}

    @property
    def predicted_sets(self) -> dict[str, tuple[int, ...]]:
        """Structure name -> the values that belong to it in label maps this target paints."""
        if self.kind == "whole":
            return {self.structures[0].name: (1,)}
        return self.label_sets

    def membership(self) -> NDArray[np.bool_]:
        """(structures, 256) table: does label value v belong to structure s? Index it with a uint8 label map."""
        table = np.zeros((len(self.structures), 256), dtype=bool)
        for row, structure in enumerate(self.structures):
            table[row, list(structure.labels)] = True
        return table

    def class_of_label(self) -> NDArray[np.uint8]:
        """(256,) table from label value to softmax channel, to IGNORED for what does not train.

        Labels outside every structure go to background, 0.
        """
        table = np.zeros(256, dtype=np.uint8)
        for row, structure in enumerate(self.structures):
            table[list(structure.labels)] = row + 1
        if self.ignored is not None:
            table[self.ignored] = IGNORED
        return table

    def as_painted(self, label: NDArray) -> NDArray[np.uint8]:
        """A true label map in the values a prediction has: 0 and 1 for `whole`, the data set's own otherwise."""
        label = label.astype(np.uint8)
        if self.kind == "whole":
            return np.isin(label, self.structures[0].labels).astype(np.uint8)
        return label

    def painted_names(self) -> dict[int, str]:
        """Label value -> name, for legends and headers of the label maps this target paints."""
        return {value: structure.name for value, structure in zip(self.paint, self.structures, strict=True)}

    def to_json(self) -> dict[str, Any]:
        document = asdict(self)
        if self.ignored is None:  # older versions read plans of data sets that ignore nothing
            del document["ignored"]
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Target:
        structures = tuple(
            Structure(str(s["name"]), tuple(int(v) for v in s["labels"])) for s in document["structures"]
        )
        ignored = document.get("ignored")
        paint = tuple(int(v) for v in document["paint"])
        return cls(str(document["kind"]), structures, paint, None if ignored is None else int(ignored))


def make_target(
    kind: str, labels: Mapping[int, str], regions: Sequence[Region] = (), ignored: int | None = None
) -> Target:
    """The target `kind` for the labels (number -> name, background included or not) of a data set.

    A data set that has `regions` of its own (nnU-Net's region-based training) means them by `all` and by `regions`.

    `brats` needs labels that name edema and enhancing tumour; a ValueError lists what is there when they do not.
    Regions after BraTS (Menze et al. 2015): whole tumour = all labels, tumour core = all but edema, enhancing.
    """
    structures = {value: name for value, name in labels.items() if value != 0}
    if regions and kind in ("all", "regions"):
        outlined = tuple(Structure(region.name, region.labels) for region in regions)
        return Target("regions", outlined, tuple(region.paint for region in regions), ignored)
    if kind == "regions":
        raise ValueError("--target regions: the data set defines none (nnU-Net's labels as lists); use all or whole")
    return replace(_of_labels(kind, structures), ignored=ignored)


def _of_labels(kind: str, structures: Mapping[int, str]) -> Target:
    if kind == "all":
        return Target(kind, tuple(Structure(name, (value,)) for value, name in structures.items()), tuple(structures))
    if kind == "whole":
        return Target(kind, (Structure("whole", tuple(structures)),), (1,))
    if kind != "brats":
        raise ValueError(f"--target {kind}: choose one of {', '.join(TARGETS)}")
    edema = [v for v, name in structures.items() if "edema" in name.lower()]
    enhancing = [v for v, name in structures.items() if re.search(r"(?<!non)(?<!non[ _-])enhanc", name.lower())]
    core = [v for v in structures if v not in edema]
    if len(edema) != 1 or len(enhancing) != 1 or len(core) < 2:
        raise ValueError(
            f"--target brats: needs labels named edema, non-enhancing and enhancing tumour; here they are "
            f"{', '.join(structures.values())}; use --target all or whole"
        )
    regions = (
        Structure("whole tumor", tuple(structures)),
        Structure("tumor core", tuple(core)),
        Structure("enhancing tumor", tuple(enhancing)),
    )
    non_enhancing = next(v for v in core if v not in enhancing)
    return Target(kind, regions, (edema[0], non_enhancing, enhancing[0]))
