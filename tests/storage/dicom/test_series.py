"""Series as scanners write them: an asymmetric phantom must lie where DICOM says, voxel by voxel."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread
from pydicom.uid import UID

from decaseg.data.preprocess import to_ras
from decaseg.storage import nifti
from decaseg.storage.dicom.files import dicom_files, is_dicom
from decaseg.storage.dicom.pixels import read_series
from decaseg.storage.dicom.series import find_series
from tests import dicoms

DIRECTIONS = {
    "axial": dicoms.AXIAL, "coronal": dicoms.CORONAL, "sagittal": dicoms.SAGITTAL, "oblique": dicoms.oblique(0.3, -0.2),
    "far oblique": dicoms.oblique(0.8, 0.7), "feet first": ((-1, 0, 0), (0, -1, 0)),
    "upside down": ((1, 0, 0), (0, -1, 0)),
}  # fmt: skip
SPACING_MM, ORIGIN = (0.9, 1.3, 2.1), (-20.0, -31.0, 4.5)


def phantom() -> np.ndarray:
    """No two voxels alike, so that nothing can be turned or mirrored unseen."""
    return np.random.default_rng(0).permutation(14 * 11 * 9).reshape(14, 11, 9).astype(np.int16)


def only(folder: Path):
    (series,) = find_series(dicom_files(folder))
    return series


@pytest.mark.parametrize("name", DIRECTIONS)
def test_every_voxel_lies_where_dicom_says(tmp_path: Path, name: str) -> None:
    volume, orientation = phantom(), DIRECTIONS[name]
    dicoms.write_series(tmp_path, volume, orientation, SPACING_MM, ORIGIN)
    found = read_series(only(tmp_path))
    np.testing.assert_array_equal(found.array, volume[None])
    np.testing.assert_allclose(found.affine, dicoms.affine_ras(orientation, SPACING_MM, ORIGIN), atol=1e-6)
    # SimpleITK puts the same values at the same places
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    image = reader.Execute()
    rng = np.random.default_rng(1)
    for voxel in rng.integers((0, 0, 0), volume.shape, (20, 3)):
        there = np.array(image.TransformIndexToPhysicalPoint([int(v) for v in voxel])) * (-1, -1, 1)
        mine = np.rint(np.linalg.inv(found.affine) @ (*there, 1))[:3].astype(int)
        assert found.array[(0, *mine)] == image.GetPixel([int(v) for v in voxel])


@pytest.mark.skipif(shutil.which("dcm2niix") is None, reason="dcm2niix is not installed")
@pytest.mark.parametrize("name", ["axial", "coronal", "sagittal", "oblique"])
def test_dcm2niix_converts_to_the_same_anatomy(tmp_path: Path, name: str) -> None:
    dicoms.write_series(tmp_path / "in", phantom(), DIRECTIONS[name], SPACING_MM, ORIGIN)
    (tmp_path / "out").mkdir()
    command = ["dcm2niix", "-z", "y", "-f", "image", "-o", tmp_path / "out", tmp_path / "in"]
    subprocess.run(command, check=True, capture_output=True)
    theirs, mine = nifti.read(tmp_path / "out" / "image.nii.gz"), read_series(only(tmp_path / "in"))
    np.testing.assert_array_equal(to_ras(mine.array, mine.grid), to_ras(theirs.array, theirs.grid))


def test_values_are_rescaled_slice_by_slice(tmp_path: Path) -> None:
    volume = phantom()
    dicoms.write_series(tmp_path, volume, modality="CT", scale=lambda z: (0.5 + z, -1024.0))
    found = read_series(only(tmp_path))
    assert found.array.dtype == np.float32
    np.testing.assert_allclose(found.array[0], volume * (0.5 + np.arange(9)) - 1024.0, rtol=1e-6)


def test_enhanced_multi_frame_in_any_order(tmp_path: Path) -> None:
    volume, orientation = phantom(), dicoms.oblique()
    order = np.random.default_rng(2).permutation(9)
    dicoms.write_enhanced(tmp_path / "a.dcm", volume, orientation, SPACING_MM, ORIGIN, order)
    found = read_series(only(tmp_path))
    np.testing.assert_allclose(found.array[0], volume * (1.0 + np.arange(9) % 2))
    np.testing.assert_allclose(found.affine, dicoms.affine_ras(orientation, SPACING_MM, ORIGIN), atol=1e-6)


def tilted(header, z):
    header.ImagePositionPatient[1] += 0.5 * z


def missing(header, z):
    header.ImagePositionPatient[2] += 2.0 * (z > 4)


def uneven(header, z):
    header.ImagePositionPatient[2] += 0.02 * z * z


def doubled(header, z):
    header.ImagePositionPatient[2] -= 2.0 * (z > 4)


def turned(header, z):
    if z == 3:
        header.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]


def elsewhere(header, z):
    del header.ImagePositionPatient


def colour(header, z):
    header.SamplesPerPixel = 3


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (tilted, r"is tilted: its slices lie askew by 14 degrees"),
        (missing, r"2 to 4 mm apart: 1 seem to be missing"),
        (uneven, "the spacing is uneven"),
        (doubled, "has 1 slices where another one lies"),
        (turned, "different directions"),
        (elsewhere, "does not say where in the patient"),
        (colour, "is a colour image"),
    ],
)
def test_what_makes_no_box_is_refused_with_the_reason(tmp_path: Path, change, fault: str) -> None:
    dicoms.write_series(tmp_path, phantom(), change=change)
    with pytest.raises(ValueError, match=fault) as caught:
        read_series(only(tmp_path))
    said = str(caught.value)
    assert len(said.splitlines()) == 1 and ";" in said and "SECRET" not in said.upper()


def test_what_is_no_image_is_passed_over(tmp_path: Path) -> None:
    dicoms.write_series(tmp_path / "a", phantom())
    (tmp_path / "README.txt").write_text("about the patient")
    (tmp_path / "a" / "empty").write_bytes(b"")
    shutil.copy(tmp_path / "a" / "IM0000", tmp_path / "DICOMDIR")
    report = dcmread(tmp_path / "a" / "IM0000")
    report.Modality, report.SeriesInstanceUID = "SR", "1.2.3.4"
    del report.Rows
    report.save_as(tmp_path / "report.dcm")
    assert not is_dicom(tmp_path / "DICOMDIR") and len(list(dicom_files(tmp_path))) == 10
    assert len(only(tmp_path).paths) == 9


def test_damaged_and_compressed_files_are_one_line(tmp_path: Path) -> None:
    dicoms.write_series(tmp_path, phantom())
    path = sorted(tmp_path.iterdir())[4]
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(ValueError, match=f"{path}: .*copy it again"):
        read_series(only(tmp_path))
    path.write_bytes(whole)
    header = dcmread(path)
    header.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.90")
    header["PixelData"].is_undefined_length = True
    from pydicom.encaps import encapsulate

    header.PixelData = encapsulate([b"\0" * 64])
    header.save_as(path)
    with pytest.raises(ValueError, match=r"JPEG 2000.*pip install pylibjpeg pylibjpeg-openjpeg|cannot be read"):
        read_series(only(tmp_path))


def test_cut_files_end_in_one_line(tmp_path: Path) -> None:
    """A file cut anywhere is read, passed over or refused with its name; it never crashes."""
    dicoms.write_series(tmp_path, phantom())
    path = sorted(tmp_path.iterdir())[4]
    whole = path.read_bytes()
    rng = np.random.default_rng(3)
    for _ in range(60):
        cut = bytearray(whole[: int(rng.integers(0, len(whole)))])
        for place in rng.integers(132, max(133, min(900, len(cut))), 3):
            if place < len(cut):
                cut[place] = rng.integers(0, 256)
        path.write_bytes(bytes(cut))
        try:
            for series in find_series(dicom_files(tmp_path)):
                read_series(series)
        except ValueError as error:
            assert str(tmp_path) in str(error) and len(str(error).splitlines()) == 1
