"""Intel's 3D U-Net in Keras: which layers its scripts made, and which of our weights each one holds.

Facts from IntelAI/unet, folder 3D (model.py, 2019 to 2020) and its forerunner: five levels `encodeA` (finest) to
`encodeE`, each twice convolution, batch norm, ReLU, halved by max pooling; on the way up `transconvE`, C, B, A (2x2x2,
stride 2) or `upE` … (each voxel copied), set before the skip's channels, then `decodeC`, `decodeB`, `decodeA`,
`convOut`; `PredictionMask` is a 1x1x1 convolution with a sigmoid. In 2019 and 2020 convolutions are called
`encodeA_conv0` and norms `encodeA_bn0`; before that `encodeAa`, with norms that Keras numbered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from decaseg.geometry import Int3
from decaseg.nets.spec import NetworkSpec
from decaseg.storage.keras_file import KerasFile

DOWN = ("encodeA", "encodeB", "encodeC", "encodeD", "encodeE")
UP = ("decodeC", "decodeB", "decodeA", "convOut")  # coarsest first
RAISED = ("E", "C", "B", "A")  # transconvE comes before decodeC, and so on
HEAD = "PredictionMask"
NAMED, NUMBERED = "named norms", "numbered norms"
CONVOLUTIONS = {NAMED: ("_conv0", "_conv1"), NUMBERED: ("a", "b")}
CUBE, HALF, POINT = (3, 3, 3), (2, 2, 2), (1, 1, 1)
NORM = ("gamma", "beta", "moving_mean", "moving_variance")
LISTED = 6  # layers that an error names before it says how many more there are

Layer = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Wanted:
    """A layer of the network: its name in the file, the shapes of its weights there, and where they go in ours.

    `kind` is conv, norm, up or head. `name` of a norm is empty where Keras numbered it: it is the one after `after`.
    """

    kind: str
    name: str
    place: str
    shapes: Mapping[str, tuple[int, ...]]
    after: str = ""


@dataclass(frozen=True)
class Found:
    """What a file turned out to hold: the network, its layers, and `arrays`, name in the file -> its weights.

    `background`: Keras' first output was the background, which `network` leaves out.
    """

    network: NetworkSpec
    naming: str
    background: bool
    wanted: tuple[Wanted, ...]
    arrays: Mapping[str, Layer]


def recognise(file: KerasFile) -> Found:
    """The network whose layers are in the file. ValueError lists what is missing, what is too much, what is other."""
    weighty = {name: layer for name, layer in file.layers.items() if layer}
    naming = next((n for n, (first, _) in CONVOLUTIONS.items() if f"encodeA{first}" in weighty), None)
    if naming is None:
        raise ValueError(
            f"is no model of Intel's 3D scripts: expected layers encodeA_conv0, encodeA_bn0, … {HEAD} (or encodeAa, … "
            f"of before 2019), found {_some([_described(n, layer) for n, layer in weighty.items()])}" + _hint(weighty)
        )
    first = weighty[f"encodeA{CONVOLUTIONS[naming][0]}"].get("kernel")
    head = weighty.get(HEAD, {}).get("kernel")
    for name, kernel, cube in ((f"encodeA{CONVOLUTIONS[naming][0]}", first, CUBE), (HEAD, head, POINT)):
        if kernel is None or kernel.ndim != 5 or kernel.shape[:3] != cube:
            shape = "no kernel" if kernel is None else f"a kernel {_times(kernel.shape)}"
            flat = "; it is the 2D model, for which decaseg has no network" * (kernel is not None and kernel.ndim == 4)
            raise ValueError(f"expected {name} with a kernel {_times(cube)} x inputs x outputs, found {shape}{flat}")
    assert first is not None
    assert head is not None
    upsample = "transposed" if any(name.startswith("transconv") for name in weighty) else "nearest"
    network = network_of(int(first.shape[4]), int(first.shape[3]), int(head.shape[4]), upsample)
    wanted = layers_of(network, naming)
    if naming == NUMBERED:
        wanted = _numbered(wanted, weighty)
    _compare(wanted, weighty)
    arrays = {layer.name: weighty[layer.name] for layer in wanted}
    _check_values(arrays)
    background = network.out_channels > 1
    network = replace(network, out_channels=network.out_channels - background)
    return Found(network, naming, background, wanted, arrays)


def network_of(filters: int, inputs: int, outputs: int, upsample: str) -> NetworkSpec:
    """Our network of that size, as the recipe `original` builds it."""
    levels = len(DOWN)
    widths = tuple(filters * 2**level for level in range(levels))
    strides: tuple[Int3, ...] = (POINT, *([HALF] * (levels - 1)))
    return NetworkSpec(
        inputs, outputs, widths, strides, (CUBE,) * levels,
        norm="batch", nonlinearity="relu", downsample="maxpool", upsample=upsample,
    )  # fmt: skip


def layers_of(network: NetworkSpec, naming: str) -> tuple[Wanted, ...]:
    """The layers with weights that Keras has for `network`, from input to output."""
    widths = network.filters
    found: list[Wanted] = []
    inputs = network.in_channels
    for level, block in enumerate(DOWN):
        found += _block(naming, block, f"encoder.{level}", inputs, widths[level])
        inputs = widths[level]
    for row, (block, letter) in enumerate(zip(UP, RAISED, strict=True)):
        level = len(DOWN) - 2 - row
        raised = network.raised_at(level)
        if network.upsample == "transposed":
            shapes = {"kernel": (*HALF, raised, widths[level + 1]), "bias": (raised,)}
            found.append(Wanted("up", f"transconv{letter}", f"ups.{row}", shapes))
        found += _block(naming, block, f"decoder.{row}", raised + widths[level], widths[level])
    outputs = network.out_channels
    shapes = {"kernel": (*POINT, widths[0], outputs), "bias": (outputs,)}
    found.append(Wanted("head", HEAD, f"heads.{len(UP) - 1}", shapes))
    return tuple(found)


def _block(naming: str, block: str, place: str, inputs: int, outputs: int) -> list[Wanted]:
    found = []
    for turn, ending in enumerate(CONVOLUTIONS[naming]):
        shapes = {"kernel": (*CUBE, inputs if turn == 0 else outputs, outputs), "bias": (outputs,)}
        found.append(Wanted("conv", block + ending, f"{place}.layers.{3 * turn}", shapes))
        norm = f"{block}_bn{turn}" if naming == NAMED else ""
        shapes = dict.fromkeys(NORM, (outputs,))
        found.append(Wanted("norm", norm, f"{place}.layers.{3 * turn + 1}", shapes, block + ending))
    return found


def _numbered(wanted: tuple[Wanted, ...], weighty: Mapping[str, Layer]) -> tuple[Wanted, ...]:
    """The layers with the names of their norms: each follows its convolution in Keras' list of layers."""
    follows: dict[str, str] = {}
    before = ""
    for name, layer in weighty.items():
        if "gamma" in layer:
            follows.setdefault(before, name)
        else:
            before = name
    lost = [layer.after for layer in wanted if layer.kind == "norm" and layer.after not in follows]
    if lost == ["encodeBb"]:
        raise ValueError(
            "encodeBb has no batch norm: Intel's script of 2018 forgot it and the ReLU after it, and decaseg's network "
            "cannot leave one out; train again (decaseg train … --recipe original)"
        )
    if lost:
        raise ValueError(f"expected a batch norm after each convolution, found none after {_some(lost)}")
    return tuple(replace(layer, name=follows[layer.after]) if layer.kind == "norm" else layer for layer in wanted)


def _compare(wanted: tuple[Wanted, ...], weighty: Mapping[str, Layer]) -> None:
    missing = [layer.name for layer in wanted if layer.name not in weighty]
    known = {layer.name for layer in wanted}
    extra = [_described(name, layer) for name, layer in weighty.items() if name not in known]
    other = []
    for layer in wanted:
        for weight, shape in layer.shapes.items():
            array = weighty.get(layer.name, {}).get(weight)
            if layer.name in weighty and (array is None or array.shape != shape):
                found = "is missing" if array is None else f"is {_times(array.shape)}"
                other.append(f"{layer.name}/{weight} {found}, expected {_times(shape)}")
    words = [
        f"{what} {_some(names)}"
        for what, names in (("missing layers:", missing), ("layers it does not have:", extra), ("other shapes:", other))
        if names
    ]
    if words:
        raise ValueError(f"does not fit Intel's 3D U-Net of {len(wanted)} layers with weights; {'; '.join(words)}")


def _check_values(arrays: Mapping[str, Layer]) -> None:
    for name, layer in arrays.items():
        for weight, array in layer.items():
            if not np.isfinite(array).all():
                raise ValueError(f"{name}/{weight} holds values that are not finite: its training had failed")
            if weight == "moving_variance" and (array < 0).any():
                raise ValueError(f"{name}/{weight} holds a variance below 0; the file is damaged")


def _some(names: list[str]) -> str:
    rest = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {rest} more" if rest > 0 else "") if names else "none"


def _described(name: str, layer: Layer) -> str:
    kernel = layer.get("kernel")
    return name if kernel is None else f"{name} ({_times(kernel.shape)})"


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a single number"


def _hint(weighty: Mapping[str, Layer]) -> str:
    if "conv1a" in weighty and "conv7b" in weighty:
        return "; it is Intel's model of early 2018 (conv1a … conv7b), whose widths decaseg's network does not have"
    return ""
