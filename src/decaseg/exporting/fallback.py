"""Taking layers of a quantised OpenVINO model back to floating point, in place, without calibrating again.

NNCF marks a quantised layer by FakeQuantize nodes on the way into it and by weights stored as int8. One FakeQuantize
often serves several layers (a U-Net's skip goes down and across), so what falls back together is a group.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from decaseg.storage.openvino_door import import_openvino

LAYERS = ("Convolution", "ConvolutionBackpropData", "GroupConvolution", "GroupConvolutionBackpropData", "MatMul")
QUANTIZER = "FakeQuantize"
# What int8 passes through unchanged.
HANDED_ON = (
    "MaxPool",
    "Concat",
    "Reshape",
    "Transpose",
    "Squeeze",
    "Unsqueeze",
    "StridedSlice",
    "Split",
)


@dataclass(frozen=True)
class Group:
    """Names of layers that share quantisers, and of those quantisers.

    `layers` is empty where only sums or norms are quantised.
    """

    layers: tuple[str, ...]
    quantizers: tuple[str, ...]


def quantised_layers(model: Any) -> tuple[str, ...]:
    """Names of the layers whose weights are int8, from the input on."""
    return tuple(
        op.get_friendly_name()
        for op in model.get_ordered_ops()
        if op.get_type_name() in LAYERS and _int8_constant(op.input_value(1).get_node()) is not None
    )


def layers_of(model: Any) -> tuple[str, ...]:
    """Names of all layers that could be int8, from the input on."""
    return tuple(op.get_friendly_name() for op in model.get_ordered_ops() if op.get_type_name() in LAYERS)


def groups_of(model: Any) -> tuple[Group, ...]:
    """What can fall back alone: quantisers that reach the same layer belong together, and with all they reach."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    order, quantizers = list(quantised_layers(model)), []
    for op in model.get_ordered_ops():
        if op.get_type_name() == QUANTIZER and _is_activation(op):
            quantizers.append(op.get_friendly_name())
            for reached in _reached(op):
                parent[root(reached)] = root(quantizers[-1])
    groups: dict[str, tuple[list[str], list[str]]] = {}
    for names, kind in ((order, 0), (quantizers, 1)):
        for name in names:
            groups.setdefault(root(name), ([], []))[kind].append(name)
    return tuple(Group(tuple(layers), tuple(marks)) for layers, marks in groups.values())


def revert(model: Any, original: Any, group: Group) -> None:
    """Makes the group's layers compute in floating point again, with the weights of `original`.

    Biases are as they were, since they are not corrected (see `int8`).
    """
    ops = {op.get_friendly_name(): op for op in model.get_ops()}
    floats = {op.get_friendly_name(): op for op in original.get_ops()}
    for name in group.quantizers:
        source = ops[name].input_value(0)
        for consumer in list(ops[name].output(0).get_target_inputs()):
            consumer.replace_source_output(source)
    for name in group.layers:
        ops[name].input(1).replace_source_output(_copied(floats[name].input_value(1).get_node()))
    model.validate_nodes_and_infer_types()


def _reached(quantizer: Any) -> Iterator[str]:
    """Names of the layers and of the other operations' quantisers that take this quantiser's values.

    Pooling and concatenation hand int8 on. Where they mix it with other values, all of them must fall back, which
    their common consumer sees to.
    """
    waiting, seen = [quantizer], {quantizer.get_friendly_name()}
    while waiting:
        for consumer in waiting.pop().output(0).get_target_inputs():
            op = consumer.get_node()
            name = op.get_friendly_name()
            if name in seen or op.get_type_name() in (QUANTIZER, "Result"):
                continue
            seen.add(name)
            yield name
            if op.get_type_name() in HANDED_ON:
                waiting.append(op)


def _is_activation(quantizer: Any) -> bool:
    return quantizer.input_value(0).get_node().get_type_name() != "Constant"


def _int8_constant(node: Any) -> Any:
    """The int8 (or uint8) constant that weights come from, through what scales them; None for weights in float."""
    while node.get_type_name() in ("Convert", "Multiply", "Subtract", "Reshape", QUANTIZER):
        if node.get_type_name() == QUANTIZER:
            return node.input_value(0).get_node()
        node = node.input_value(0).get_node()
    is_int8 = node.get_type_name() == "Constant" and node.get_element_type().get_type_name() in ("i8", "u8")
    return node if is_int8 else None


def _copied(node: Any) -> Any:
    """A constant's value as a constant of another model: float32."""
    import numpy as np

    opset13 = import_openvino().opset13

    while node.get_type_name() == "Convert":  # weights stored in fp16
        node = node.input_value(0).get_node()
    return opset13.constant(np.array(node.data, dtype=np.float32)).output(0)
