"""A trained U-Net as ONNX, for ONNX Runtime and everything else that reads it."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import torch
from torch import nn

from decaseg.geometry import Int3
from decaseg.storage.files import replacing


def write_onnx(model: nn.Module, channels: int, window: Int3, path: Path, precision: str) -> None:
    """Writes one .onnx file, fp32; the batch may have any size, the window is fixed."""
    if precision != "fp32":
        raise ValueError(f"--precision {precision}: ONNX is written in fp32; use --format openvino for {precision}")
    try:
        import onnx  # noqa: F401 - the exporter needs it, and its own message does not say how to get it
        import onnxscript  # noqa: F401
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
