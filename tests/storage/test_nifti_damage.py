"""Damaged files are refused in one line that names them, and never give other voxels."""

from __future__ import annotations

import gzip
import os
import re
import time
import tracemalloc
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from decaseg.storage import nifti
from decaseg.storage.nifti import NiftiError
from decaseg.volume import Volume
from tests.storage.test_nifti import save, voxels


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, np.ndarray, np.ndarray]:
    """A written file (its deflate stream is not a trivial one), its voxels and its affine."""
    path = tmp_path_factory.mktemp("good") / "a.nii.gz"
    rng = np.random.default_rng(0)
    array = (rng.normal(0, 30, (2, 20, 22, 18)) + 100).astype(np.int16)
    nifti.write(path, Volume.of(array, np.diag([2, 3, 4, 1.0])))
    return path.read_bytes(), array, nifti.read(path).affine


def refused(path: Path, data: bytes) -> NiftiError:
    path.write_bytes(data)
    with pytest.raises(NiftiError) as caught:
        nifti.read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "; " in message and len(message.splitlines()) == 1
    return caught.value


def test_every_truncation_is_refused(tmp_path: Path, good) -> None:
    data = good[0]
    cuts = {0, 1, 2, 9, 10, 11, 17, *range(len(data) - 12, len(data))}
    cuts |= set(np.random.default_rng(1).integers(0, len(data), 100).tolist())
    for cut in sorted(cuts):
        refused(tmp_path / "a.nii.gz", data[:cut])
    plain = gzip.decompress(data)
    for cut in (0, 3, 347, 351, 352, 353, len(plain) // 2, len(plain) - 1):
        assert "truncated" in str(refused(tmp_path / "a.nii", plain[:cut]))


def test_no_flipped_bit_gives_other_voxels(tmp_path: Path, good) -> None:
    data, array, affine = good
    path = tmp_path / "a.nii.gz"
    rng = np.random.default_rng(2)
    bits = [*range(80), *range(8 * len(data) - 64, 8 * len(data)), *rng.integers(80, 8 * len(data), 400).tolist()]
    accepted = 0
    for bit in bits:
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(damaged)
        try:
            volume = nifti.read(path)
        except NiftiError:
            continue
        else:
            accepted += 1
            assert bit < 80  # a time stamp or a hint in gzip's own header, which says nothing about the image
            assert np.array_equal(volume.array, array) and np.array_equal(volume.affine, affine)
    assert accepted < 80


def test_bytes_lost_doubled_or_exchanged_inside_are_refused(tmp_path: Path, good) -> None:
    data, rng = good[0], np.random.default_rng(3)
    for _ in range(100):
        a, b = sorted(rng.integers(12, len(data) - 9, 2).tolist())
        pieces = [data[:a] + data[b + 1 :], data[:b] + data[a:], data[:a] + os.urandom(b - a + 1) + data[b + 1 :]]
        for piece in pieces:
            refused(tmp_path / "a.nii.gz", piece)


@pytest.mark.parametrize("at", [-8, -4])
def test_wrong_checksum_or_length_of_any_member(tmp_path: Path, good, at: int) -> None:
    plain = gzip.decompress(good[0])
    members = [bytearray(gzip.compress(plain[:5000])), bytearray(gzip.compress(plain[5000:]))]
    for member in members:
        member[at] ^= 1
        assert "damaged" in str(refused(tmp_path / "a.nii.gz", b"".join(members)))
        member[at] ^= 1
    assert "damaged" in str(refused(tmp_path / "a.nii.gz", good[0] + b"something else"))


def test_random_headers_are_read_or_refused_but_nothing_else(tmp_path: Path) -> None:
    plain = save(tmp_path / "a.nii", voxels(0, "i2", (4, 5, 6))).read_bytes()
    rng = np.random.default_rng(4)
    for _ in range(400):
        damaged = bytearray(plain)
        for place in rng.integers(0, 352, rng.integers(1, 5)):
            damaged[place] = int(rng.integers(0, 256))
        (tmp_path / "a.nii").write_bytes(damaged)
        try:
            volume = nifti.read(tmp_path / "a.nii")
            nifti.write(tmp_path / "b.nii", volume)
        except NiftiError as error:
            assert str(tmp_path / "a.nii") in str(error)
        else:
            assert np.isfinite(volume.affine).all()


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"dim": [3, 2000, 2000, 2000, 1, 1, 1, 1]}, "header lies"),
        ({"dim": [3, 30000, 30000, 30000, 1, 1, 1, 1]}, "header lies"),
        ({"dim": [2, 4, 30, 1, 1, 1, 1, 1]}, "2 dimensions"),
        ({"dim": [5, 4, 5, 2, 3, 2, 1, 1]}, "5 dimensions"),
        ({"dim": [3, 4, 0, 6, 1, 1, 1, 1]}, "dimensions"),
        ({"dim": [3, -4, 5, 6, 1, 1, 1, 1]}, "dimensions"),
        ({"dim": [9, 4, 5, 6, 1, 1, 1, 1]}, "dimensions"),
        ({"dim": [4, 4, 5, 6, 5000, 1, 1, 1]}, "has 5,000 channels"),
        ({"datatype": 128}, "voxels of type colour"),
        ({"datatype": 0}, "unknown voxel type"),
        ({"datatype": 32}, "voxels of type complex"),
        ({"datatype": 77}, "unknown voxel type"),
        ({"vox_offset": 0}, "begin at byte 0"),
        ({"vox_offset": float("nan")}, "begin at byte nan"),
        ({"vox_offset": 352.5}, "begin at byte"),
        ({"xyzt_units": 5}, "unit of length"),
        ({"scl_slope": 2, "scl_inter": float("inf")}, "scl_inter"),
        ({"sizeof_hdr": 349}, "not a NIfTI file"),
        ({"magic": b"ni1"}, r"\.hdr/\.img pair"),
        ({"magic": b"xyz"}, "not a NIfTI file"),
        ({"magic": b"n+1\x01"}, "damaged magic"),
        ({"srow_x": [np.nan, 0, 0, 0]}, "not finite"),
        ({"srow_x": [0, 0, 0, 0]}, "singular"),
        ({"srow_x": [1, 1, 0, 5], "srow_y": [1, 1 + 2e-7, 0, 5]}, "singular"),
        ({"sform_code": 0, "qform_code": 1, "quatern_b": 1, "quatern_c": 1}, "no rotation"),
        ({"sform_code": 0, "qform_code": 1, "quatern_b": np.nan}, "no rotation"),
    ],
)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_headers_that_cannot_be(tmp_path: Path, fields: dict[str, object], fault: str, suffix: str) -> None:
    path = save(tmp_path / f"a{suffix}", voxels(0, "i2", (4, 5, 6)))
    plain = bytearray(path.read_bytes() if suffix == ".nii" else gzip.decompress(path.read_bytes()))
    block = np.frombuffer(plain, nib.Nifti1Header.template_dtype, 1)[0].copy()
    for name, value in fields.items():
        block[name] = value
    plain[:348] = block.tobytes()
    data = bytes(plain) if suffix == ".nii" else gzip.compress(plain)
    assert re.search(fault, str(refused(path, data)))


@pytest.mark.parametrize(("eol", "taken"), [(b"\r\n\x1a\n", True), (bytes(4), True), (b"\n\x1a\n\0", False)])
def test_nifti_2_tells_of_text_mode_by_its_magic(tmp_path: Path, eol: bytes, taken: bool) -> None:
    path = save(tmp_path / "a.nii", voxels(0, "i2", (4, 5, 6)), kind=nib.Nifti2Image)
    data = bytearray(path.read_bytes())
    assert data[4:12] == b"n+2\0\r\n\x1a\n"
    data[8:12] = eol
    path.write_bytes(data)
    if taken:
        assert nifti.read(path).shape == (4, 5, 6)
    else:
        assert "damaged magic" in str(refused(path, bytes(data)))


def test_tiny_voxels_are_no_singular_affine(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", voxels(0, "u1", (4, 5, 6)), np.diag([4e-6, 4e-6, 4e-5, 1]))
    assert np.allclose(nifti.read(path).spacing_mm, (4e-6, 4e-6, 4e-5))


def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    plain = save(tmp_path / "a.nii", voxels(0, "u1", (4, 5, 6))).read_bytes()
    deflater = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = deflater.compress(plain) + b"".join(deflater.compress(b"\0" * (1 << 20)) for _ in range(300))
    tracemalloc.start()
    assert "after its last voxel" in str(refused(tmp_path / "a.nii.gz", bomb + deflater.flush()))
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


def test_verifying_judges_as_reading_does(tmp_path: Path, good) -> None:
    path, rng = tmp_path / "a.nii.gz", np.random.default_rng(6)
    plain = gzip.decompress(good[0])
    refusals = 0
    for number in range(300):
        damaged = bytearray(good[0] if number % 2 else plain)
        for place in rng.integers(0, len(damaged) if number % 2 else 352, rng.integers(0, 4)):
            damaged[place] = int(rng.integers(0, 256))
        path.write_bytes(damaged[: rng.integers(1, len(damaged))] if number % 5 == 0 else damaged)
        said = []
        for judge in (nifti.read, nifti.verify):
            try:
                judge(path)
                said.append("")
            except NiftiError as error:
                said.append(str(error))
        assert said[0] == said[1]
        refusals += said[0] != ""
    assert 100 < refusals < 300


def test_verifying_takes_no_memory(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", voxels(0, "i2", (160, 160, 160)))
    tracemalloc.start()
    nifti.verify(path)
    assert tracemalloc.get_traced_memory()[1] < 6e6
    tracemalloc.stop()


def test_many_tiny_members_are_refused_before_they_cost_time(tmp_path: Path, good) -> None:
    plain, path = gzip.decompress(good[0]), tmp_path / "a.nii.gz"
    started = time.process_time()
    assert "pieces of gzip" in str(refused(path, gzip.compress(b"") * 500_000 + good[0]))
    tiny = b"".join(gzip.compress(plain[n : n + 1], 1) for n in range(6000)) + gzip.compress(plain[6000:])
    assert "pieces of gzip" in str(refused(path, tiny))
    assert time.process_time() - started < 5
    bgzip = b"".join(gzip.compress(plain[n : n + 65280]) for n in range(0, len(plain), 65280)) + gzip.compress(b"")
    path.write_bytes(bgzip)
    assert np.array_equal(nifti.read(path).array, good[1])


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "d.nii").mkdir()
    (tmp_path / "a.txt").write_text("x")
    os.mkfifo(tmp_path / "p.nii.gz")
    faults = {
        "none.nii": "no such file",
        "d.nii": "is a folder",
        "a.txt": "is not .nii",
        "p.nii.gz": "device or pipe",
        "a.txt/b.nii": "cannot be read",
        "n" * 300: "cannot be read",
    }
    for name, fault in faults.items():
        for reader in (nifti.read, nifti.read_grid):
            with pytest.raises(NiftiError, match=fault):
                reader(tmp_path / name)
