"""`decaseg predict` on DICOM: what comes back lies where the scanner's slices lay, as NIfTI and as DICOM-SEG."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from decaseg.cli import call
from decaseg.storage import nifti
from decaseg.volume import Volume
from tests import dicoms
from tests.storage.dicom.test_segmentation import NAMES, placed
from tests.workflows.conftest import CHANNELS

SPACING_MM, ORIGIN = (1.0, 1.0, 1.0), (-9.0, -10.0, 4.0)
DESCRIPTIONS = {"FLAIR": "t2_tirm_tra_dark-fluid", "T1w": "AX T1 SE", "t1gd": "AX T1 SE POST GD", "T2w": "t2_tse_tra"}
DIRECTIONS = {
    "axial": dicoms.AXIAL,
    "coronal": dicoms.CORONAL,
    "sagittal": dicoms.SAGITTAL,
    "oblique": dicoms.oblique(),
}


def predict(model, *words):
    return call(["predict", str(model), *map(str, words), "--threads", "1"])


@pytest.fixture
def image(msd):
    return nifti.read(msd / "imagesTr" / "case_001.nii.gz").array


def write(folder, image, orientation=dicoms.AXIAL, descriptions=DESCRIPTIONS, **more):
    """A series a channel, all in one folder's folders; returns their UIDs."""
    return {
        name: dicoms.write_series(
            folder / f"S{place}", image[place], orientation, SPACING_MM, ORIGIN, description=descriptions[name], **more
        )
        for place, name in enumerate(CHANNELS)
    }


@pytest.mark.parametrize("name", DIRECTIONS)
def test_four_series_come_back_in_place_as_nifti_and_as_dicom(run, image, tmp_path, capsys, name):
    orientation = DIRECTIONS[name]
    series = write(tmp_path / "patient7", image, orientation)
    (tmp_path / "patient7" / "notes.txt").write_text("nothing")
    capsys.readouterr()
    assert predict(run, tmp_path / "patient7", "--out", tmp_path / "out") == 0
    said = capsys.readouterr()
    assert (
        "patient7: FLAIR = t2_tirm_tra_dark-fluid, T1w = AX T1 SE, t1gd = AX T1 SE POST GD, T2w = t2_tse_tra"
        in said.err
    )
    assert "SECRET" not in (said.err + said.out).upper()
    # the same image as NIfTI, placed by hand
    affine = dicoms.affine_ras(orientation, SPACING_MM, ORIGIN)
    nifti.write(tmp_path / "in" / "patient7.nii.gz", Volume.of(image, affine))
    assert predict(run, tmp_path / "in", "--out", tmp_path / "expected") == 0
    found, expected = (nifti.read(tmp_path / folder / "patient7.nii.gz") for folder in ("out", "expected"))
    np.testing.assert_array_equal(found.array, expected.array)
    np.testing.assert_allclose(found.affine, affine, atol=1e-5)
    assert len(np.unique(found.array)) > 1  # else nothing could be seen to be mirrored
    names = dict(zip(sorted(NAMES), (1, 2, 3), strict=True))  # `placed` counts segments by its own values
    there = placed(tmp_path / "out" / "patient7.dcm", affine, found.shape)
    for value, number in names.items():
        np.testing.assert_array_equal(there == value, found.array[0] == number)
    made = dcmread(tmp_path / "out" / "patient7.dcm")
    assert made.ReferencedSeriesSequence[0].SeriesInstanceUID == series["FLAIR"]
    assert [s.SegmentLabel for s in made.SegmentSequence] == ["edema", "non-enhancing tumor", "enhancing tumour"]


def test_series_that_cannot_be_told_apart_are_listed_and_chosen(run, image, tmp_path, capsys):
    folder = tmp_path / "patient"
    series = write(folder, image, descriptions=dict.fromkeys(CHANNELS, "MR brain"))
    assert predict(run, folder, "--out", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert len([line for line in said.splitlines() if line.startswith("decaseg:")]) == 1
    assert all(uid in said for uid in series.values()) and "MR brain" in said and "--series UID" in said
    words = [word for name in CHANNELS for word in ("--series", series[name])]
    assert predict(run, folder, "--out", tmp_path / "out", *words) == 0
    assert predict(run, folder, "--out", tmp_path / "out", "--series", "1.2.3") == 2
    assert "--series 1.2.3" in capsys.readouterr().err


def test_without_dicom_seg_and_with_finished_cases(run, image, tmp_path, capsys):
    write(tmp_path / "p", image)
    assert predict(run, tmp_path / "p", "--out", tmp_path / "out", "--no-dicom-seg") == 0
    assert [path.name for path in sorted((tmp_path / "out").glob("p*"))] == ["p.nii.gz"]
    assert predict(run, tmp_path / "p", "--out", tmp_path / "out") == 0
    assert (tmp_path / "out" / "p.dcm").is_file()
    capsys.readouterr()
    assert predict(run, tmp_path / "p", "--out", tmp_path / "out") == 0
    assert "1 were there already" in capsys.readouterr().out


def test_each_study_in_a_folder_is_a_case(run, image, tmp_path):
    for number in (1, 2):
        write(tmp_path / "in" / f"patient {number}", image, study=f"1.2.{number}")
    assert predict(run, tmp_path / "in", "--out", tmp_path / "out") == 0
    assert {path.name for path in (tmp_path / "out").glob("*.dcm")} == {"patient 1.dcm", "patient 2.dcm"}


def test_series_on_other_grids_and_tilted_ones_are_one_line(run, image, tmp_path, capsys):
    write(tmp_path / "p", image)
    for path in (tmp_path / "p" / "S2").iterdir():
        path.unlink()
    dicoms.write_series(tmp_path / "p" / "S2", image[2], dicoms.AXIAL, (1.0, 1.0, 1.0), (-5.0, -10.0, 4.0),
                        description=DESCRIPTIONS["t1gd"])  # fmt: skip
    assert predict(run, tmp_path / "p", "--out", tmp_path / "out") == 2
    assert "lies up to 4 mm away" in capsys.readouterr().err

    def tilt(header, z):
        header.ImagePositionPatient[1] += 0.3 * z

    write(tmp_path / "tilted", image, change=tilt)
    assert predict(run, tmp_path / "tilted", "--out", tmp_path / "out") == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("decaseg:")]
    assert len(said) == 1 and "gantry tilt" in said[0]
    assert predict(run, next((tmp_path / "p" / "S0").iterdir()), "--out", tmp_path / "out") == 2
    assert "name the folder with its series" in capsys.readouterr().err


def test_a_record_of_what_was_done_names_no_patient(run, image, tmp_path):
    write(tmp_path / "p", image)
    assert predict(run, tmp_path / "p", "--out", tmp_path / "out") == 0
    record = json.loads((tmp_path / "out" / ".finished" / "p.json").read_text())
    assert set(record["outputs"]) == {"p.nii.gz", "p.dcm"}
    for path in Path(tmp_path / "out").rglob("*"):
        if path.is_file() and path.suffix != ".dcm":
            assert b"SECRET" not in path.read_bytes().upper()


def test_without_pydicom_one_line_says_what_brings_it(run, image, tmp_path, capsys, monkeypatch):
    write(tmp_path / "p", image)
    for name in [name for name in sys.modules if name.startswith("decaseg.storage.dicom.") and "files" not in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    assert predict(run, tmp_path / "p", "--out", tmp_path / "out") == 2
    assert "this needs pydicom, which is not installed; pip install 'decaseg[dicom]'" in capsys.readouterr().err
