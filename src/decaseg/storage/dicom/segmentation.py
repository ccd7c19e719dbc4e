"""Writes a label map as DICOM-SEG that refers, slice by slice, to the series it was made from."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from decaseg import __version__
from decaseg.storage.dicom.codes import Coded, coded
from decaseg.storage.dicom.quiet import quietly
from decaseg.storage.dicom.series import Series, Stack, opened, stack
from decaseg.storage.files import write_bytes
from decaseg.volume import Volume

MAKER = "decaseg"
SERIES_NUMBER = 900  # far from what scanners count to


def write_segmentation(path: Path, labels: Volume, series: Series, names: Mapping[int, str]) -> None:
    """A segment for each named label value, in the order of values; patient and study are the source's.

    `labels` (1, X, Y, Z) lies on the grid that `read_series` gave. Slices without any structure are left out, as usual.
    ValueError where the source lacks what a DICOM-SEG must take over from it.
    """
    import highdicom
    from highdicom.seg import Segmentation

    ordered = stack(series)
    if labels.shape != ordered.grid.shape:
        raise ValueError(f"{path}: the label map is {labels.shape}, its series {ordered.grid.shape}")
    values = sorted(value for value in names if value)
    numbers = np.zeros(256, np.uint8)
    numbers[values] = np.arange(1, len(values) + 1)
    frames = np.ascontiguousarray(numbers[labels.array[0]].transpose(2, 1, 0))  # (X, Y, Z) -> (Z, rows, columns)
    sources, frames = _sources(ordered, frames)
    with quietly():
        try:
            made = Segmentation(
                source_images=sources,
                pixel_array=frames,
                segmentation_type="BINARY",
                segment_descriptions=[_description(number, names[value]) for number, value in enumerate(values, 1)],
                series_instance_uid=highdicom.UID(),
                series_number=SERIES_NUMBER,
                sop_instance_uid=highdicom.UID(),
                instance_number=1,
                manufacturer=MAKER,
                manufacturer_model_name=MAKER,
                software_versions=__version__,
                device_serial_number="0",
                series_description=f"{MAKER} segmentation",
                omit_empty_frames=bool(frames.any()),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            said = (str(error) or type(error).__name__).splitlines()[0][:160]
            raise ValueError(
                f"{series.paths[0].parent}: series {series} cannot be referred to by a DICOM-SEG ({said}); "
                "use --no-dicom-seg for the NIfTI file alone"
            ) from None
    buffer = io.BytesIO()
    with quietly():
        made.save_as(buffer)
    write_bytes(path, buffer.getvalue())


def _sources(ordered: Stack, frames: np.ndarray) -> tuple[list[Dataset], np.ndarray]:
    """The sources in the order of the frames; a multi-frame source keeps its own order of frames."""
    paths = list(dict.fromkeys(one.path for one in ordered.slices))
    if ordered.slices[0].frame is None:
        return [opened(path, stop_before_pixels=True) for path in paths], frames
    if len(paths) > 1:
        raise ValueError(f"{paths[0]}: its series has several multi-frame files; DICOM-SEG can refer to one")
    back = np.argsort([one.frame or 0 for one in ordered.slices])
    return [opened(paths[0], stop_before_pixels=True)], np.ascontiguousarray(frames[back])


def _description(number: int, name: str) -> Any:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription

    what: Coded = coded(name)
    return SegmentDescription(
        segment_number=number,
        segment_label=name[:64],
        segmented_property_category=Code(*what.category),
        segmented_property_type=Code(*what.kind),
        algorithm_type="AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            name=MAKER, version=__version__, family=Code("123110", "DCM", "Artificial Intelligence")
        ),
        anatomic_regions=[Code(*what.site)] if what.site else None,
    )
