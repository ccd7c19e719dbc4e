"""The voxels of a series, slice by slice, in the scanner's units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID

from decaseg.storage.dicom.series import DicomError, Series, Stack, named, opened, stack
from decaseg.volume import Volume

# What to install for a transfer syntax that pydicom does not decode by itself.
PLUGINS = {
    "1.2.840.10008.1.2.4.5": "pylibjpeg pylibjpeg-libjpeg",  # JPEG: 4.50, 4.51, 4.57
    "1.2.840.10008.1.2.4.7": "pylibjpeg pylibjpeg-libjpeg",  # JPEG lossless: 4.70
    "1.2.840.10008.1.2.4.8": "pyjpegls",  # JPEG-LS: 4.80, 4.81
    "1.2.840.10008.1.2.4.9": "pylibjpeg pylibjpeg-openjpeg",  # JPEG 2000: 4.90, 4.91
    "1.2.840.10008.1.2.4.20": "pylibjpeg pylibjpeg-openjpeg",  # high-throughput JPEG 2000: 4.201 …
}


def read_series(series: Series) -> Volume:
    """The volume (1, X, Y, Z): x along rows, y down columns, z along the normal; values rescaled a slice.

    In the file's own type where no slice is rescaled, else float32. ValueError with the reason for a series that
    makes no even grid, is damaged, or is compressed in a way that needs a plugin.
    """
    return voxels(stack(series))


def voxels(ordered: Stack) -> Volume:
    """The voxels of slices in order."""
    columns, rows, count = ordered.grid.shape
    scaled = any((one.slope, one.intercept) != (1.0, 0.0) for one in ordered.slices)
    array: NDArray | None = None
    held: tuple[Path, NDArray] | None = None  # the file read last: a multi-frame file is read once, not once a frame
    for z, one in enumerate(ordered.slices):
        if held is None or held[0] != one.path:
            held = one.path, _pixels(one.path)
        pixels = held[1] if one.frame is None or held[1].ndim == 2 else held[1][one.frame]
        if pixels.shape != (rows, columns):
            raise DicomError(f"{one.path}: has {pixels.shape} pixels, its series {(rows, columns)}; copy it again")
        if array is None:
            array = np.empty((1, count, rows, columns), np.float32 if scaled else pixels.dtype)
        elif not scaled and pixels.dtype != array.dtype:
            array = array.astype(np.result_type(array.dtype, pixels.dtype))
        array[0, z] = pixels.astype(np.float64) * one.slope + one.intercept if scaled else pixels
    assert array is not None
    return Volume(array.transpose(0, 3, 2, 1), ordered.grid)  # (C, Z, Y, X) -> (C, X, Y, Z)


def _pixels(path: Path) -> NDArray:
    """The pixels of a file as they are stored: (rows, columns), or (frames, rows, columns)."""
    with named(path, "its pixels cannot be read"):
        _need_plugin(path)
        found: NDArray = pixel_array(path)
    return found


def _need_plugin(path: Path) -> None:
    """DicomError, saying which one, where the compression needs a plugin that is not installed."""
    syntax = opened(path, specific_tags=["Rows"], stop_before_pixels=True).file_meta.TransferSyntaxUID
    plugin = next((name for start, name in PLUGINS.items() if str(syntax).startswith(start)), None)
    if plugin is not None and not get_decoder(syntax).is_available:
        raise DicomError(f"{path}: is compressed as {UID(syntax).name}, which needs a plugin; pip install {plugin}")
