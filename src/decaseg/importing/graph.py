"""Is a model, as Keras describes it in the file, wired the way our network is? Names and shapes alone do not tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from decaseg.geometry import Int3, int3
from decaseg.importing.intel_unet import DOWN, HEAD, RAISED, UP, Found, Wanted

EPSILON = 1e-3  # what our batch norm adds to the variance, as Keras does unless told otherwise
NOTHING = {"Dropout", "SpatialDropout3D"}  # what these do ends with training
RELU = ("BatchNormalization", "Activation")
CLASSES = {"conv": "Conv3D", "norm": "BatchNormalization", "up": "Conv3DTranspose", "head": "Conv3D"}
# What layers of a class must say, where they say it; the first value is what they have where they do not.
SETTINGS: dict[str, dict[str, tuple[Any, ...]]] = {
    "Conv3D": {"strides": ([1, 1, 1],), "padding": ("valid", "same"), "dilation_rate": ([1, 1, 1],), "groups": (1,)},
    "Conv3DTranspose": {"strides": ([2, 2, 2],), "output_padding": (None,), "dilation_rate": ([1, 1, 1],)},
    "BatchNormalization": {"axis": (-1, 4, [4], [-1])},
    "Activation": {"activation": ("relu",)},
    "ReLU": {"max_value": (None,), "negative_slope": (0, None), "threshold": (0,)},
    "MaxPooling3D": {"pool_size": ([2, 2, 2],), "strides": ([2, 2, 2], None)},
    "UpSampling3D": {"size": ([2, 2, 2],), "interpolation": ("nearest",)},
    "Concatenate": {"axis": (-1, 4)},
}
EVERY = {"data_format": ("channels_last",)}
ACTIVATIONS = {"conv": "linear", "up": "linear", "head": "sigmoid"}


@dataclass(frozen=True)
class Node:
    """A layer as Keras describes it: what it is, its settings, and the layers it takes, in order."""

    kind: str
    settings: Mapping[str, Any]
    inputs: tuple[str, ...]


def check_wiring(config: Mapping[str, Any], found: Found) -> Int3 | None:
    """ValueError where the model is wired or set otherwise; else the shape it takes, None where it takes any."""
    try:
        return _check_wiring(config, found)
    except (TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError):  # JSON of any other kind
        raise ValueError("its model_config does not describe a model as Keras does; copy the file again") from None


def _check_wiring(config: Mapping[str, Any], found: Found) -> Int3 | None:
    nodes = dict(_nodes(config))
    for layer in found.wanted:
        _check_settings(layer, nodes)
    convolutions = [layer.name for layer in found.wanted if layer.kind == "conv"]
    down, up = convolutions[: 2 * len(DOWN)], convolutions[2 * len(DOWN) :]
    source, *inputs = _back(nodes, down[0])
    if inputs or nodes[source].kind != "InputLayer":
        raise ValueError(f"{down[0]} takes {source}, expected the image")
    for i in range(1, len(down)):
        between = RELU if i % 2 else (*RELU, "MaxPooling3D")
        _expect(nodes, down[i], (down[i - 1],), between)
    below = down[-1]
    for row, letter in enumerate(RAISED):
        first, second = up[2 * row], up[2 * row + 1]
        join = _joined(nodes, first)
        raised, skip = nodes[join].inputs
        if found.network.upsample == "transposed":
            _same(join, raised, f"transconv{letter}")
            _expect(nodes, raised, (below,), RELU)
        else:
            _path(nodes, join, raised, below, (*RELU, "UpSampling3D"))
        _path(nodes, join, skip, down[2 * (len(DOWN) - 2 - row) + 1], RELU)
        _expect(nodes, second, (first,), RELU)
        below = second
    _expect(nodes, HEAD, (up[2 * len(UP) - 1],), RELU)
    return _input_shape(nodes[source].settings)


def _nodes(config: Mapping[str, Any]) -> Iterator[tuple[str, Node]]:
    layers = config.get("config", {})
    layers = layers.get("layers") if isinstance(layers, Mapping) else layers
    for layer in layers:  # type: ignore[union-attr]
        settings = layer["config"]
        name = str(layer.get("name") or settings["name"])
        yield name, Node(str(layer["class_name"]), settings, tuple(_names(layer.get("inbound_nodes", []))))


def _names(part: Any) -> Iterator[str]:
    """The layers an `inbound_nodes` names, in order, as Keras 2 writes it ([name, 0, 0, {}]) or Keras 3."""
    if isinstance(part, Mapping):
        if "keras_history" in part:
            yield str(part["keras_history"][0])
            return
        for value in part.values():
            yield from _names(value)
    elif isinstance(part, list):
        if part and isinstance(part[0], str):
            yield part[0]
            return
        for value in part:
            yield from _names(value)


def _check_settings(layer: Wanted, nodes: Mapping[str, Node]) -> None:
    node = _node(nodes, layer.name)
    if node.kind != CLASSES[layer.kind]:
        raise ValueError(f"{layer.name} is a layer {node.kind}, expected {CLASSES[layer.kind]}")
    _agree(layer.name, node)
    wanted = ACTIVATIONS.get(layer.kind)
    if wanted and (activation := node.settings.get("activation", "linear")) != wanted:
        raise ValueError(f"{layer.name} ends with {activation}, expected {wanted}")
    if layer.kind in ("conv", "up") and node.settings.get("padding", "same") != "same":
        raise ValueError(f"{layer.name} has the padding {node.settings['padding']}, expected same")
    if layer.kind == "norm" and abs(float(node.settings.get("epsilon", EPSILON)) - EPSILON) > 1e-9:
        raise ValueError(f"{layer.name} has epsilon {node.settings['epsilon']}, expected {EPSILON:g}")


def _agree(name: str, node: Node) -> None:
    for setting, allowed in (SETTINGS.get(node.kind, {}) | EVERY).items():
        value = node.settings.get(setting, allowed[0])
        if value not in allowed:
            raise ValueError(f"{name} has {setting} {value}, expected {allowed[0]}")


def _node(nodes: Mapping[str, Node], name: str) -> Node:
    if name not in nodes:
        raise ValueError(f"its model_config lacks the layer {name}; the file is damaged")
    return nodes[name]


def _back(nodes: Mapping[str, Node], name: str) -> tuple[str, ...]:
    """What a layer takes, passing over layers that do nothing."""
    found = []
    for source in _node(nodes, name).inputs:
        passed = 0
        while (node := _node(nodes, source)).kind in NOTHING and node.inputs and passed < len(nodes):
            source, passed = node.inputs[0], passed + 1
        found.append(source)
    if not found:
        raise ValueError(f"{name} takes no layer's output; the file is damaged")
    return tuple(found)


def _expect(nodes: Mapping[str, Node], name: str, sources: tuple[str, ...], between: tuple[str, ...]) -> None:
    """ValueError unless `name` takes `sources` after layers of the classes `between`, first to last."""
    taken = _back(nodes, name)
    if len(taken) != len(sources):
        raise ValueError(f"{name} takes {', '.join(taken)}, expected {', '.join(sources)}")
    for one, source in zip(taken, sources, strict=True):
        _path(nodes, name, one, source, between)


def _path(nodes: Mapping[str, Node], name: str, last: str, source: str, between: tuple[str, ...]) -> None:
    """ValueError unless `last` is the end of layers of the classes `between`, the first of which takes `source`."""
    place, seen = last, list[str]()
    for wanted in reversed(between):
        place = place if _node(nodes, place).kind not in NOTHING else _back(nodes, place)[0]
        node = _node(nodes, place)
        kind = "Activation" if node.kind == "ReLU" else node.kind
        if kind != wanted:
            steps = " -> ".join((source, *between, name))
            raise ValueError(f"{name} takes {' <- '.join([*seen, f'{place} ({node.kind})'])}, expected {steps}")
        _agree(place, node)
        seen.append(place)
        place = _back(nodes, place)[0]
    if place != source:
        raise ValueError(f"{name} takes its values from {place}, expected {source}")


def _joined(nodes: Mapping[str, Node], name: str) -> str:
    (join, *rest) = _back(nodes, name)
    node = _node(nodes, join)
    if rest or node.kind != "Concatenate" or len(node.inputs) != 2:
        raise ValueError(f"{name} takes {join} ({node.kind}), expected two layers side by side")
    _agree(join, node)
    return join


def _same(name: str, found: str, wanted: str) -> None:
    if found != wanted:
        raise ValueError(f"{name} takes {found} first, expected {wanted}")


def _input_shape(settings: Mapping[str, Any]) -> Int3 | None:
    shape = settings.get("batch_input_shape") or settings.get("batch_shape") or []
    if len(shape) != 5 or any(not isinstance(n, int) or n < 1 for n in shape[1:4]):
        return None
    return int3(shape[1:4])
