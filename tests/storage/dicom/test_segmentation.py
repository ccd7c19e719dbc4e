"""DICOM-SEG: every voxel where it was, the source referred to, the structures coded."""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.sr.codedict import codes

from decaseg.storage.dicom import codes as ours
from decaseg.storage.dicom.files import dicom_files
from decaseg.storage.dicom.pixels import read_series
from decaseg.storage.dicom.segmentation import write_segmentation
from decaseg.storage.dicom.series import find_series
from tests import dicoms

NAMES = {1: "edema", 2: "non-enhancing tumor", 4: "widget"}


def labels_of(shape: tuple[int, int, int]) -> np.ndarray:
    """A label map without any symmetry, with empty slices, and with 4 as a value."""
    label = np.random.default_rng(0).choice([0, 1, 2, 4], shape, p=[0.7, 0.1, 0.1, 0.1]).astype(np.uint8)
    label[:, :, -2] = 0
    label[0] = 1
    return label


def placed(path: Path, affine: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """The segments put back into the label map's voxels by the positions that the file says, frame by frame."""
    found = np.zeros(shape, np.uint8)
    back, header = np.linalg.inv(affine), dcmread(path)
    pixels = header.pixel_array.reshape(-1, header.Rows, header.Columns)
    shared = header.SharedFunctionalGroupsSequence[0]
    number_of = {s.SegmentNumber: v for s, v in zip(header.SegmentSequence, sorted(NAMES), strict=True)}
    across, down = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
    between_rows, between_columns = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    for frame, groups in zip(pixels, header.PerFrameFunctionalGroupsSequence, strict=True):
        origin = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        value = number_of[groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber]
        for row, column in np.argwhere(frame):
            lps = origin + across * column * between_columns + down * row * between_rows
            voxel = np.rint(back @ (-lps[0], -lps[1], lps[2], 1))[:3].astype(int)
            found[tuple(voxel)] = value
    return found


@pytest.mark.parametrize("name", ["axial", "coronal", "sagittal", "oblique", "enhanced"])
def test_nothing_is_mirrored_or_moved(tmp_path: Path, name: str) -> None:
    volume = np.random.default_rng(1).integers(0, 900, (14, 11, 9)).astype(np.int16)
    spacing_mm, origin = (0.9, 1.3, 2.1), (-20.0, -31.0, 4.5)
    if name == "enhanced":
        order = np.random.default_rng(2).permutation(9)
        dicoms.write_enhanced(tmp_path / "in" / "a", volume, dicoms.oblique(), spacing_mm, origin, order)
    else:
        orientation = {"axial": dicoms.AXIAL, "coronal": dicoms.CORONAL, "sagittal": dicoms.SAGITTAL}.get(name)
        dicoms.write_series(tmp_path / "in", volume, orientation or dicoms.oblique(), spacing_mm, origin)
    (series,) = find_series(dicom_files(tmp_path / "in"))
    image, label = read_series(series), labels_of(volume.shape)
    write_segmentation(tmp_path / "seg.dcm", image.with_array(label), series, NAMES)
    np.testing.assert_array_equal(placed(tmp_path / "seg.dcm", image.affine, volume.shape), label)
    made = dcmread(tmp_path / "seg.dcm")
    assert made.ReferencedSeriesSequence[0].SeriesInstanceUID == series.uid
    referred = {i.ReferencedSOPInstanceUID for i in made.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert referred == {dcmread(path).SOPInstanceUID for path in series.paths}
    source = dcmread(series.paths[0])
    for tag in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert made[tag].value == source[tag].value
    assert made.SeriesInstanceUID != source.SeriesInstanceUID and made.Modality == "SEG"


def test_segments_are_coded_and_bear_their_names(tmp_path: Path) -> None:
    dicoms.write_series(tmp_path / "in", np.zeros((6, 5, 4), np.int16))
    (series,) = find_series(dicom_files(tmp_path / "in"))
    empty = read_series(series).with_array(np.zeros((6, 5, 4), np.uint8))
    write_segmentation(tmp_path / "seg.dcm", empty, series, NAMES)  # a prediction without any structure
    made = highdicom.seg.segread(tmp_path / "seg.dcm")
    edema, core, other = (made.get_segment_description(number) for number in (1, 2, 3))
    assert [d.segment_label for d in (edema, core, other)] == list(NAMES.values())
    assert (
        edema.segmented_property_type == codes.SCT.Edema
        and core.segmented_property_type == codes.NCIt.NonEnhancingLesion
    )
    assert other.segmented_property_type == codes.SCT.Tissue
    assert edema.segmented_property_category == codes.SCT.MorphologicallyAbnormalStructure
    assert edema.anatomic_regions[0] == codes.SCT.Brain
    assert edema.algorithm_identification.name == "decaseg"


def test_every_code_is_one_that_pydicom_knows_by_that_meaning() -> None:
    known = set()
    for scheme in ("SCT", "NCIt"):
        dictionary = getattr(codes, scheme)
        known |= {(c.value, scheme, c.meaning) for c in (getattr(dictionary, word) for word in dictionary.dir())}
    for coded in (*(c for _, c in ours.KNOWN), ours.OTHER):
        for value, scheme, meaning in filter(None, (coded.category, coded.kind, coded.site)):
            assert (value, scheme, meaning) in known


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("edema", "Edema"), ("enhancing tumour", "Enhancing Lesion"), ("non-enhancing tumor", "Non-Enhancing Lesion"),
        ("whole tumor", "Neoplasm"), ("tumor core", "Neoplasm"), ("Anterior hippocampus", "Hippocampus"),
        ("liver", "Liver"), ("liver tumour", "Neoplasm"), ("resection cavity", "Tissue"), ("necrosis", "Necrosis"),
    ],
)  # fmt: skip
def test_names_find_their_code(name: str, meaning: str) -> None:
    assert ours.coded(name).kind[2] == meaning


def test_a_source_without_a_frame_of_reference_is_one_line(tmp_path: Path) -> None:
    def change(header, z):
        del header.FrameOfReferenceUID

    dicoms.write_series(tmp_path / "in", np.zeros((6, 5, 4), np.int16), change=change)
    (series,) = find_series(dicom_files(tmp_path / "in"))
    label = read_series(series).with_array(np.ones((6, 5, 4), np.uint8))
    with pytest.raises(ValueError, match="--no-dicom-seg"):
        write_segmentation(tmp_path / "seg.dcm", label, series, NAMES)
