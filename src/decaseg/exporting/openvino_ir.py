"""A trained U-Net as OpenVINO IR."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import nn

from decaseg.geometry import Int3
from decaseg.storage.files import replacing
from decaseg.storage.openvino_door import import_openvino, save_model

# What the weights are stored in, by the precision asked for. For bf16 it is fp16: half the file of fp32, and it keeps
# three bits more of each weight than bf16, which the processor rounds to; one that has no bf16 loses hardly anything.
STORED = {"fp32": "fp32", "fp16": "fp16", "bf16": "fp16"}


def write_openvino(model: nn.Module, channels: int, window: Int3, folder: Path, precision: str) -> None:
    """Writes `folder/model.xml` and `model.bin`; the batch may have any size, the window is fixed.

    Weights beyond fp16's range stay in fp32. The fixed window lets the processor plan its memory once; every volume is
    predicted window by window anyway.
    """
    if precision not in STORED:
        raise ValueError(f"--precision {precision}: choose one of {', '.join(STORED)}")
    try:
        openvino = import_openvino()
    except ImportError:
        raise ValueError("--format openvino: OpenVINO is not installed; pip install 'decaseg[runtime]'") from None
    example = torch.zeros(1, channels, *window)
    with torch.no_grad(), warnings.catch_warnings():
        # Tracing warns of Python branches on shapes. Here the window's shape is fixed, so they are too.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        warnings.simplefilter("ignore", DeprecationWarning)
        converted = openvino.convert_model(model.eval().float(), example_input=example, input=[(-1, channels, *window)])
    converted.inputs[0].get_tensor().set_names({"image"})
    converted.outputs[0].get_tensor().set_names({"logits"})
    folder.mkdir(parents=True, exist_ok=True)
    # Saved under the final names in a hidden folder beside, then moved: model.xml last, since it makes the pair whole.
    with replacing(folder / "model.xml") as xml, replacing(folder / "model.bin") as weights:
        save_model(converted, xml, compress_to_fp16=STORED[precision] == "fp16")
        xml.with_suffix(".bin").replace(weights)
