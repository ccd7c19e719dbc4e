"""What a prediction needs at its peak, before it begins: arithmetic over shapes. No torch.

Three moments are looked at, and the largest is the answer: preparing the image; the network on one window while the
slabs' sums are held; and bringing a slab back to the image's grid. `benchmarks/prediction/README.md` has how far the
sums are from what was measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from decaseg.data.preprocess import Preprocessing, ras_spacing, target_shape
from decaseg.geometry import Int3, int3
from decaseg.inference.restore import PIECE_VOXELS, Wanted
from decaseg.inference.windows import Windows
from decaseg.nets.spec import NetworkSpec
from decaseg.volume import Grid

GIB = 2**30
LIBRARIES_GIB = {"torch": 0.33, "openvino": 0.20, "onnx": 0.15}  # interpreter and libraries
WEIGHT_COPIES = {"torch": 2.0, "openvino": 2.5, "onnx": 2.5}  # as read, and as the engine packs them
WINDOW_COPIES = 3  # of a window's image and logits: cut out, given, handed back
# Maps of the finest level that one window needs at a time: the skip, a convolution's two; in fp32 also Winograd's slabs
# where it is taken (nets/winograd.py); and gaps between blocks, which glibc keeps for the next window.
FINEST_MAPS, WINOGRAD_MAPS = 6.0, 6.0
NEAREST_MAPS = 2.0  # copied voxels keep all channels of the coarser level: twice as many, and once more beside the skip
AHEAD_GIB = 0.5  # an image whose preparing takes more is not read ahead


@dataclass(frozen=True)
class ImageFacts:
    """What the header tells: the grid, the channels, and how many bytes a voxel takes once read."""

    grid: Grid
    channels: int
    bytes_a_value: int


@dataclass(frozen=True)
class Networks:
    """What predicts: `members` of an ensemble, alike, with about so many `weights` each."""

    spec: NetworkSpec
    weights: float
    window: Int3
    engine: str
    precision: str = "fp32"
    step: float = 0.5
    members: int = 1


@dataclass(frozen=True)
class Need:
    """GiB at the three moments, libraries included, and of preparing alone, libraries left out."""

    prepare_gib: float
    network_gib: float
    restore_gib: float
    preparing_gib: float

    @property
    def peak_gib(self) -> float:
        return max(self.prepare_gib, self.network_gib, self.restore_gib)

    @property
    def one_more_gib(self) -> float:
        """What another case like it takes beside it: all but the libraries and the weights."""
        return self.peak_gib - (self.prepare_gib - self.preparing_gib)

    @property
    def read_ahead(self) -> bool:
        """Whether preparing it beside another case is cheap."""
        return self.preparing_gib <= AHEAD_GIB


def prediction_need(image: ImageFacts, how: Preprocessing, networks: Networks, wanted: Wanted = Wanted()) -> Need:
    """What one image needs. All of it counts as inside the crop: how much is empty, a header cannot tell."""
    shape = int3(image.grid.shape[[w for w, _ in image.grid.axes].index(world)] for world in range(3))
    inner = target_shape(shape, ras_spacing(image.grid), how.spacing_mm)
    voxels, inner_voxels = float(np.prod(shape)), float(np.prod(inner))
    channels, classes = len(how.channels), networks.spec.out_channels
    preparing = _preparing(image, how, shape, inner)
    windows = Windows.over(inner, networks.window, networks.step)
    row = [w if a == windows.axis else n for a, (w, n) in enumerate(zip(networks.window, windows.padded, strict=True))]
    thick = float(np.prod(row))
    several = wanted.probabilities or wanted.uncertainty or networks.members > 1
    padded = 4 * float(np.prod(windows.padded)) * channels if windows.padded != inner else 0
    base = LIBRARIES_GIB[networks.engine] * GIB
    base += networks.members * WEIGHT_COPIES[networks.engine] * 4 * networks.weights
    held = base + inner_voxels * (4 * channels + 1) + padded + 4 * thick * (classes * networks.members + 1)
    held += voxels * (1 + 4 * classes * wanted.probabilities + 4 * wanted.uncertainty)
    patch, size = float(np.prod(networks.window)), 2 if networks.precision == "bf16" else 4
    maps = FINEST_MAPS + WINOGRAD_MAPS * (networks.engine == "torch" and size == 4 and networks.spec.filters[0] >= 32)
    maps += NEAREST_MAPS * (networks.spec.upsample == "nearest")
    at_work = patch * (maps * networks.spec.filters[0] * size + 4 * WINDOW_COPIES * (channels + classes))
    pieces = 4.0 * min(PIECE_VOXELS, voxels) * (classes + 3) if inner != shape else 4 * thick
    back = pieces + (8 * thick * classes if several else 0)
    return Need((base + preparing) / GIB, (held + at_work) / GIB, (held + back) / GIB, preparing / GIB)


def _preparing(image: ImageFacts, how: Preprocessing, shape: Int3, inner: Int3) -> float:
    """Bytes: the image as read, the mask of what is not 0, the normalised channels, and what resampling adds."""
    channels, voxels = len(how.channels), float(np.prod(shape))
    total = voxels * (image.channels * image.bytes_a_value + 1 + 4 * channels)
    if inner == shape:
        return total + 4 * voxels * any(n.kind == "zscore_nonzero" for n in how.normalisation)
    steps, size = [], list(shape)  # one channel, an axis after the other, as `resample_image` goes
    for axis in sorted(range(3), key=lambda a: inner[a] / shape[a]):
        if inner[axis] != shape[axis]:
            size[axis] = inner[axis]
            steps.append(float(np.prod(size)))
    two_at_once = max(a + b for a, b in zip([0.0, *steps], [*steps, 0.0], strict=True))
    return total + 4 * float(np.prod(inner)) * channels + 4 * two_at_once
