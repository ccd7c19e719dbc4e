"""`nifti.slabs` gives what `nifti.read` gives, in pieces, and refuses what it refuses."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from decaseg.storage import nifti


def put_together(path: Path) -> np.ndarray:
    grid, channels = nifti.read_grid(path)
    found = [np.zeros((*grid.shape[:2], 0)) for _ in range(channels)]
    for channel, z, slab in nifti.slabs(path):
        assert z == found[channel].shape[2] and slab.shape[:2] == grid.shape[:2]
        found[channel] = np.concatenate([found[channel], slab], axis=2)
    return np.stack(found)


@pytest.mark.parametrize("dtype", ["u1", "<i2", ">i2", ">f4", "f8"])
@pytest.mark.parametrize(("shape", "scale"), [((5, 6, 7), None), ((5, 6, 7, 3), None), ((5, 6, 7), (2.0, -1.0))])
@pytest.mark.parametrize("piece", [1, 100, 10**6])
def test_together_they_are_the_volume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, shape: tuple[int, ...], scale, piece: int
) -> None:
    monkeypatch.setattr(nifti, "PIECE_BYTES", piece)
    rng = np.random.default_rng(0)
    header = nib.Nifti1Header(endianness=dtype[0] if dtype[0] in "<>" else "<")
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header.set_sform(np.eye(4), 1)
    header["vox_offset"] = 352
    if scale:
        header["scl_slope"], header["scl_inter"] = scale
    voxels = rng.integers(0, 100, shape).astype(dtype)
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(header.binaryblock + b"\0" * 4 + voxels.tobytes(order="F")))
    whole = nifti.read(path).array
    np.testing.assert_array_equal(put_together(path), whole)
    assert {slab.dtype for _, _, slab in nifti.slabs(path)} == {whole.dtype}


@pytest.mark.parametrize("cut", [9, 40, 400])
def test_what_is_cut_short_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.nii.gz"
    rng = np.random.default_rng(0)
    nib.save(nib.Nifti1Image(rng.integers(0, 99, (20, 20, 20)).astype(np.int16), np.eye(4)), path)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(nifti.NiftiError, match="truncated"):
        list(nifti.slabs(path))


def test_a_wrong_checksum_and_trailing_data_are_found_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    nib.save(nib.Nifti1Image(np.zeros((9, 9, 9), np.int16), np.eye(4)), path)
    raw = path.read_bytes()
    packed = bytearray(gzip.compress(raw))
    packed[-6] ^= 1
    (tmp_path / "b.nii.gz").write_bytes(packed)
    (tmp_path / "c.nii").write_bytes(raw + b"x" * 70_000)
    for name, words in (("b.nii.gz", "damaged"), ("c.nii", "data after its last voxel")):
        with pytest.raises(nifti.NiftiError, match=words):
            list(nifti.slabs(tmp_path / name))
