"""A few hundred of the malformed inputs of benchmarks/malformed: read rightly, or refused in one line."""

import gzip
import json
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from decaseg.cli import call
from decaseg.planning.checks.measure import measure_image
from decaseg.storage import nifti
from decaseg.storage.archive import Hostile
from decaseg.volume import Volume
from tests.mutants import documents
from tests.mutants import nifti as mutants
from tests.mutants.geometry import apart, truth
from tests.mutants.judge import Bad, Unpack, json_parsers, loader, said_of_header
from tests.synthetic import write_dataset


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("malformed") / "data", cases=2, shape=(12, 14, 10))


@pytest.fixture(scope="module")
def tiny_run(data: Path) -> Path:
    run = data.parent / "run"
    words = ["--set", "base_filters=4", "max_levels=2", "steps_per_epoch=2", "epochs=1", "validation_cases=0"]
    words += ["--patch", "8", "8", "8", "--batch-size", "2", "--threads", "1", "--device", "cpu"]
    assert call(["train", f"{data}", "--out", f"{run}", *words]) == 0
    return run


def plain_of(data: Path) -> bytes:
    return gzip.decompress((data / "imagesTr" / "case_001.nii.gz").read_bytes())


def test_nifti_and_gzip(data, tmp_path):
    plain, said = plain_of(data), Counter()
    for index in range(400):
        name, mutant = mutants.mutant(plain, np.random.default_rng([11, index]))
        if name in mutants.RARE:
            continue
        path = tmp_path / ("m.nii.gz" if index % 3 else "m.nii")
        path.write_bytes(mutant)
        said[loader(path, mutant)] += 1
    assert said["read"] > 100 and said["refused"] > 100


def test_json(data, tmp_path):
    document, said = json.loads((data / "dataset.json").read_text()), Counter()
    for index in range(200):
        _, mutant = documents.json_mutant(document, np.random.default_rng([12, index]))
        (tmp_path / "dataset.json").write_bytes(mutant)
        said[json_parsers(tmp_path / "dataset.json", mutant)] += 1
    assert said["read"] > 10 and said["refused"] > 100


def test_recipes_of_other_types_are_refused_in_one_line(tmp_path):
    """What the campaign found: a list for a number ended in a traceback."""
    for value in ([], "x", {}, [[1]]):
        mutant = json.dumps({"name": "default", "lr": value, "epochs": value}).encode()
        (tmp_path / "dataset.json").write_bytes(mutant)
        assert json_parsers(tmp_path / "dataset.json", mutant) == "refused"


def test_voxels_of_a_hundred_metres_are_refused_before_they_are_resampled(tmp_path):
    """What the campaign found: such a slice, brought to millimetres, kept `predict` busy for minutes."""
    path = tmp_path / "a.nii.gz"
    nifti.write(path, Volume.of(np.ones((4, 5, 6), np.uint8), np.diag([1, 1, 1e5, 1.0])))
    with pytest.raises(nifti.NiftiError, match="100,000 mm long"):
        nifti.read(path)


@pytest.mark.parametrize("seed", range(3))
def test_what_simpleitk_shows_elsewhere_is_said_by_the_header_alone(data, tmp_path, seed):
    """A label beside the image, which lies where the image should, would tell too: here is none."""
    plain, rng, elsewhere = plain_of(data), np.random.default_rng([15, seed]), 0
    path = tmp_path / "m.nii"
    for _ in range(150):
        mutant = mutants.forms(plain, rng)
        path.write_bytes(mutant)
        known = truth(mutant)
        assert known is not None
        try:
            itk = sitk.ReadImage(str(path))
        except RuntimeError:
            continue
        affine = np.eye(4)
        affine[:3, :3] = np.array(itk.GetDirection()).reshape(3, 3) * itk.GetSpacing()
        affine[:3, 3] = itk.GetOrigin()
        if apart(known.affine, np.diag([-1.0, -1, 1, 1]) @ affine, known.shape) > 0.1:
            elsewhere += 1
            assert said_of_header(path), f"{known} {affine}"
    assert elsewhere > 10


def test_an_image_that_resampling_would_blow_up_is_refused_in_one_line(tiny_run, data, tmp_path, capsys):
    """What the campaign found: voxels of 10 mm for a model of 1 mm made 1,000 of each, and 22 s of work."""
    path = tmp_path / "a.nii.gz"
    nifti.write(path, Volume.of(nifti.read(data / "imagesTr" / "case_001.nii.gz").array, np.diag([10.0, 10, 10, 1])))
    capsys.readouterr()
    assert call(["predict", f"{tiny_run}", f"{path}", "--out", f"{tmp_path / 'out'}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{path}: has voxels of 10 x 10 x 10 mm" in line and "resample the image first" in line
    assert not list((tmp_path / "out").glob("*"))


def test_channels_that_only_the_header_has_take_no_memory(tmp_path):
    """What the campaign found: NIfTI-2 with 2^62 channels claimed ended `check` for want of memory."""

    def truncated():
        raise nifti.NiftiError(tmp_path / "a.nii", "is truncated", "copy it again")
        yield

    tracemalloc.start()
    with pytest.raises(nifti.NiftiError, match="truncated"):
        measure_image(truncated(), (4, 5, 6), 4000)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_tar(data, tmp_path):
    files, said = {"T/dataset.json": b"{}", "T/imagesTr/a.nii.gz": plain_of(data)[:700]}, Counter()
    unpack = Unpack(tmp_path)
    for index in range(120):
        _, mutant = documents.tar_mutant(files, np.random.default_rng([13, index]))
        (tmp_path / "m.tar").write_bytes(mutant)
        said[unpack(tmp_path / "m.tar", mutant)] += 1
    assert said["unpacked"] > 10 and said["refused"] > 50


def test_check_names_damaged_images_and_shows_no_traceback(data, capsys):
    place = data / "imagesTr" / "case_001.nii.gz"
    good, plain, refused = place.read_bytes(), plain_of(data), 0
    try:
        for index in range(40):
            _, mutant = mutants.mutant(plain, np.random.default_rng([14, index]))
            place.write_bytes(mutant)
            code, shown = call(["check", f"{data}", "--threads", "1"]), capsys.readouterr()
            assert code in (0, 1) and "Traceback" not in shown.out + shown.err
            if truth(mutant) is None:
                assert code == 1 and "case_001" in shown.out
                refused += 1
    finally:
        place.write_bytes(good)
    assert refused > 5


class TestTheWitnesses:
    """A judge that cannot say no would pass everything."""

    def test_a_wrong_place_is_told(self, data, tmp_path, monkeypatch):
        mutant = (data / "imagesTr" / "case_001.nii.gz").read_bytes()
        (tmp_path / "m.nii.gz").write_bytes(mutant)
        moved = nifti.read(data / "imagesTr" / "case_001.nii.gz")
        affine = moved.affine.copy()
        affine[0, 3] += 1
        monkeypatch.setattr(nifti, "read", lambda _: Volume.of(moved.array, affine))
        with pytest.raises(Bad, match="wrong geometry"):
            loader(tmp_path / "m.nii.gz", mutant)

    def test_damage_that_is_taken_is_told(self, data, tmp_path, monkeypatch):
        path = data / "imagesTr" / "case_001.nii.gz"
        good, mutant = nifti.read(path), path.read_bytes()[:-1]
        (tmp_path / "m.nii.gz").write_bytes(mutant)
        monkeypatch.setattr(nifti, "read", lambda _: good)
        with pytest.raises(Bad, match="took damage"):
            loader(tmp_path / "m.nii.gz", mutant)

    def test_a_refusal_of_several_lines_is_told(self, data, tmp_path, monkeypatch):
        (tmp_path / "m.tar").write_bytes(b"x")

        def refuse(*_):
            raise Hostile("one\ntwo")

        monkeypatch.setattr("tests.mutants.judge.archive.unpack", refuse)
        with pytest.raises(Bad, match="bad line"):
            Unpack(tmp_path)(tmp_path / "m.tar", b"x")

    def test_the_witness_reads_what_nibabel_reads(self, data):
        import nibabel as nib

        path = data / "imagesTr" / "case_001.nii.gz"
        known = truth(path.read_bytes())
        assert known is not None and known.shape == nib.load(path).shape
        assert apart(known.affine, nib.load(path).affine, known.shape) < 1e-6
