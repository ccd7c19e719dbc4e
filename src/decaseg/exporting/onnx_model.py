"""A trained U-Net as ONNX, for ONNX Runtime and everything else that reads it."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from decaseg.geometry import Int3
from decaseg.storage.files import replacing

PRECISIONS = ("fp32", "fp16")


def write_onnx(model: nn.Module, channels: int, window: Int3, path: Path, precision: str) -> None:
    """Writes one .onnx file; the batch may have any size, the window is fixed. Input and output are float32.

    fp16: the convolutions' weights are stored in fp16 and cast to fp32 by the first nodes of the graph, which runtimes
    fold into constants when they load it. What is computed is fp32 then, as in OpenVINO's fp16 models.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"--precision {precision}: for --format onnx choose one of {', '.join(PRECISIONS)}")
    try:
        import onnx
        import onnxscript  # noqa: F401 - the exporter needs it, and its own message does not say how to get it
    except ImportError:
        raise ValueError("--format onnx: onnx is not installed; pip install 'decaseg[onnx]'") from None
    example = torch.zeros(2, channels, *window)
    batch = torch.export.Dim("batch", min=1, max=1024)
    # torch's exporter warns of its own old ways, and of torchvision's operators, which no U-Net has.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with replacing(path) as temporary, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            model.eval().float(),
            (example,),
            str(temporary),
            input_names=["image"],
            output_names=["logits"],
            dynamic_shapes=({0: batch},),
            external_data=False,
            verbose=False,
        )
        if precision == "fp16":
            onnx.save(halved(onnx.load(temporary)), temporary)


def halved(model: Any) -> Any:
    """The same ONNX model with its float32 weights of two or more axes stored in fp16 and cast back to float32.

    Vectors (norms, biases) stay: they are small, and theirs is the last word. So do weights beyond fp16's range.
    """
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        values = numpy_helper.to_array(tensor)
        if np.abs(values).max(initial=0) > np.finfo(np.float16).max:
            continue
        stored = f"{tensor.name}_fp16"
        casts.append(helper.make_node("Cast", [stored], [tensor.name], to=TensorProto.FLOAT))
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), stored))
    # Nodes stand in an order in which each finds its inputs made; protobuf cannot insert at the front.
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model
