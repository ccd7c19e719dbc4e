"""What Intel's scripts did to the Decathlon's brain tumours before the network saw them, as a plan says it.

Facts from IntelAI/unet, folder 3D (dataloader.py, settings.py, argparser.py): arrays as they lie in the file (from
2020 on turned by numpy.rot90); the first channel, FLAIR, or the first few; a crop from the middle, 144 voxels long
unless asked otherwise; from each channel the crop's mean, divided by its standard deviation, zeros included; labels
above 0 as one, or from 2020 on label values 0, 1, 2 … each as an output of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from decaseg.data.normalise import Normalisation
from decaseg.data.preprocess import Preprocessing, ras_spacing
from decaseg.data.targets import Structure, Target, make_target
from decaseg.geometry import Int3, int3
from decaseg.importing.intel_unet import Found
from decaseg.planning.plan import Plan
from decaseg.volume import Grid

CHANNELS = ("FLAIR", "T1w", "t1gd", "T2w")  # as dataset.json of Task01_BrainTumour names and orders them
LABELS = {0: "background", 1: "edema", 2: "non-enhancing tumor", 3: "enhancing tumour"}
SHAPE: Int3 = (240, 240, 155)
CROP: Int3 = (144, 144, 144)
SEED, TRAINED, VALIDATED = 816, 0.85, 0.5  # of all cases; of the rest
BRATS = np.diag([-1.0, -1.0, 1.0, 1.0])  # files of BraTS run left, posterior, superior


@dataclass(frozen=True)
class Data:
    """The data set a model was trained on; without it, what the Decathlon's Task01_BrainTumour is."""

    name: str = "Task01_BrainTumour"
    channels: tuple[str, ...] = CHANNELS
    labels: Mapping[int, str] | None = None
    grid: Grid | None = None

    @property
    def label_names(self) -> Mapping[int, str]:
        return self.labels or LABELS

    @property
    def axes(self) -> Grid:
        """A grid whose axes lie as those of the data set's files."""
        return self.grid or Grid((1, 1, 1), BRATS)


def plan_of(found: Found, data: Data, crop: Int3, quarter_turn: bool, batch_size: int) -> Plan:
    """The plan by which decaseg does what the scripts did; `crop` is in the order of the axes Keras saw.

    ValueError for more inputs than the data set has channels, or more outputs than labels.
    """
    axes = ras_order(data.axes, quarter_turn)
    patch = int3(crop[a] for a in axes)
    reduction = found.network.reduction
    if any(n % r for n, r in zip(patch, reduction, strict=True)):
        raise ValueError(
            f"--patch {' '.join(map(str, crop))}: each axis must be a multiple of {reduction[0]}, by which it is pooled"
        )
    inputs = found.network.in_channels
    if inputs > len(data.channels):
        raise ValueError(
            f"its network takes {inputs} channels, the data have {len(data.channels)} ({', '.join(data.channels)}); "
            "name the data set it was trained on with --data"
        )
    how = Preprocessing(
        channels=tuple(data.channels[:inputs]),
        channel_indices=tuple(range(inputs)),
        file_channels=len(data.channels),
        spacing_mm=ras_spacing(data.axes),
        normalisation=(Normalisation("zscore_centre", centre=patch),) * inputs,
        crop_to_nonzero=False,
    )
    return Plan(
        dataset=data.name,
        labels=dict(data.label_names),
        target=_target(found, data.label_names),
        preprocessing=how,
        network=found.network,
        patch=patch,
        batch_size=batch_size,
        mirror_axes=tuple(sorted(axes.index(seen) for seen in (0, 1))),
        median_shape=int3(SHAPE[a] for a in axes),
        data_sha256="unknown",
    )


def ras_order(grid: Grid, quarter_turn: bool) -> Int3:
    """For each axis right, anterior, superior: which axis it was in what Keras saw.

    >>> ras_order(Grid((1, 1, 1), BRATS), True)
    (1, 0, 2)
    """
    places = [next(i for i, (world, _) in enumerate(grid.axes) if world == w) for w in range(3)]
    return int3({0: 1, 1: 0, 2: 2}[p] if quarter_turn else p for p in places)


def _target(found: Found, labels: Mapping[int, str]) -> Target:
    """What the outputs mean: the whole tumour, or labels 1, 2 … each with its own sigmoid."""
    if not found.background:
        return make_target("whole", labels)
    outputs = found.network.out_channels
    values = tuple(range(1, outputs + 1))
    if lost := [v for v in values if v not in labels]:
        raise ValueError(
            f"its network has {outputs + 1} outputs, for labels 0 to {outputs}; the data have no label {lost[0]}; name "
            "the data set it was trained on with --data"
        )
    return Target("apart", tuple(Structure(labels[v], (v,)) for v in values), values)


def split_of_2019(cases: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Which cases, in dataset.json's order, the scripts of 2019 trained, validated and tested on as they stood.

    numpy's legacy generator with seed 816, 85 % to train, half of the rest to choose the epoch, the last to test.
    Those of 2020 drew anew in each epoch, so that no case was kept back.
    """
    order = np.random.RandomState(SEED).permutation(len(cases))
    trained = int(np.floor(len(cases) * TRAINED))
    validated = trained + int(np.floor((len(cases) - trained) * VALIDATED))
    train, val, test = order[:trained], order[trained:validated], order[validated:]
    return tuple(cases[i] for i in train), tuple(cases[i] for i in val), tuple(cases[i] for i in test)
