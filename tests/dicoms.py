"""Writes volumes as DICOM series, for tests: any direction of the slices, single or enhanced multi-frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

MR, ENHANCED_MR = UID("1.2.840.10008.5.1.4.1.1.4"), UID("1.2.840.10008.5.1.4.1.1.4.1")
CT = UID("1.2.840.10008.5.1.4.1.1.2")
# Directions of a row's and a column's voxels in the patient, left, posterior, superior (LPS), as scanners give them.
AXIAL = ((1, 0, 0), (0, 1, 0))
CORONAL = ((1, 0, 0), (0, 0, -1))
SAGITTAL = ((0, 1, 0), (0, 0, -1))


def oblique(first: float = 0.3, second: float = -0.2) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Axial, turned round two axes."""
    a, b = np.cos(first), np.sin(first)
    c, d = np.cos(second), np.sin(second)
    turn = np.array([[a, -b, 0], [b, a, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -d], [0, d, c]])
    return tuple(turn[:, 0]), tuple(turn[:, 1])


def affine_ras(orientation, spacing_mm, origin_lps) -> np.ndarray:
    """What maps (column, row, slice) to RAS millimetres, computed here by itself: an oracle for the reader."""
    across, down = (np.array(direction, float) for direction in orientation)
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1] = across * spacing_mm[0], down * spacing_mm[1]
    lps[:3, 2], lps[:3, 3] = np.cross(across, down) * spacing_mm[2], origin_lps
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps


def write_series(
    folder: Path,
    volume: np.ndarray,
    orientation=AXIAL,
    spacing_mm=(1.0, 1.0, 2.0),
    origin_lps=(-20.0, -30.0, 5.0),
    *,
    description: str = "FLAIR",
    study: str = "1.2.3",
    modality: str = "MR",
    frame: str = "1.2.9",
    scale=lambda z: (1.0, 0.0),
    seed: int = 0,
    change=lambda header, z: None,
) -> str:
    """(columns, rows, slices) int16 as one file a slice, in shuffled order of names and numbers; returns its UID."""
    folder.mkdir(parents=True, exist_ok=True)
    series, count = generate_uid(), volume.shape[2]
    order = np.random.default_rng(seed).permutation(count)
    normal = np.cross(*orientation)
    for z in range(count):
        header = _base(CT if modality == "CT" else MR, series, study, frame, description, modality, volume)
        header.InstanceNumber = int(order[z]) + 1
        header.ImagePositionPatient = [float(f"{v:.8g}") for v in np.array(origin_lps) + normal * z * spacing_mm[2]]
        header.ImageOrientationPatient = [float(f"{v:.8g}") for direction in orientation for v in direction]
        header.PixelSpacing = [spacing_mm[1], spacing_mm[0]]  # between rows, then between columns
        header.SliceThickness = spacing_mm[2]
        slope, intercept = scale(z)
        if (slope, intercept) != (1.0, 0.0) or modality == "CT":
            header.RescaleSlope, header.RescaleIntercept = slope, intercept
        header.PixelData = np.ascontiguousarray(volume[:, :, z].T.astype("<i2")).tobytes()
        change(header, z)
        header.save_as(folder / f"IM{order[z]:04d}", enforce_file_format=True)
    return series


def write_enhanced(path: Path, volume: np.ndarray, orientation, spacing_mm, origin_lps, order=None) -> str:
    """The same as one enhanced multi-frame file, its frames in `order`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    series, count = generate_uid(), volume.shape[2]
    header = _base(ENHANCED_MR, series, "1.2.3", "1.2.9", "FLAIR", "MR", volume)
    header.NumberOfFrames = count
    normal = np.cross(*orientation)
    shared = Dataset()
    shared.PlaneOrientationSequence = Sequence([Dataset()])
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [float(v) for d in orientation for v in d]
    shared.PixelMeasuresSequence = Sequence([Dataset()])
    shared.PixelMeasuresSequence[0].PixelSpacing = [spacing_mm[1], spacing_mm[0]]
    shared.PixelMeasuresSequence[0].SliceThickness = spacing_mm[2]
    header.SharedFunctionalGroupsSequence = Sequence([shared])
    frames, pixels = [], []
    for number, z in enumerate(range(count) if order is None else order):
        frame = Dataset()
        frame.PlanePositionSequence = Sequence([Dataset()])
        place = np.array(origin_lps) + normal * z * spacing_mm[2]
        frame.PlanePositionSequence[0].ImagePositionPatient = [float(f"{v:.8g}") for v in place]
        frame.FrameContentSequence = Sequence([Dataset()])
        frame.FrameContentSequence[0].StackID = "1"
        frame.FrameContentSequence[0].InStackPositionNumber = int(z) + 1
        frame.FrameContentSequence[0].DimensionIndexValues = [1, number + 1]
        frame.PixelValueTransformationSequence = Sequence([Dataset()])
        frame.PixelValueTransformationSequence[0].RescaleSlope = 1.0 + int(z) % 2
        frame.PixelValueTransformationSequence[0].RescaleIntercept = 0.0
        frames.append(frame)
        pixels.append(np.ascontiguousarray(volume[:, :, z].T.astype("<i2")).tobytes())
    header.PerFrameFunctionalGroupsSequence = Sequence(frames)
    header.PixelData = b"".join(pixels)
    header.save_as(path, enforce_file_format=True)
    return series


def _base(kind: UID, series: str, study: str, frame: str, description: str, modality: str, volume) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = kind
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    header.SOPClassUID, header.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
    header.PatientName, header.PatientID = "Secret^Name", "SECRET-ID-77"
    header.PatientBirthDate, header.PatientSex = "19700101", "O"
    header.StudyInstanceUID, header.SeriesInstanceUID, header.FrameOfReferenceUID = study, series, frame
    header.StudyID, header.StudyDate, header.StudyTime, header.AccessionNumber = "1", "20200101", "120000", ""
    header.ReferringPhysicianName, header.Manufacturer = "", "Tests"
    header.SeriesDescription, header.SeriesNumber, header.Modality = description, 3, modality
    header.PositionReferenceIndicator, header.ImageType = "", ["ORIGINAL", "PRIMARY", "M"]
    header.Columns, header.Rows = volume.shape[0], volume.shape[1]
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 1
    return header
