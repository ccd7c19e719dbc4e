"""Weights carry a checksum: damage anywhere in the file is told, what others wrote is taken as it is."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load, save

from decaseg.storage.sealed import seal, verify

TENSORS = {"b": np.arange(300, dtype=np.float32).reshape(10, 30), "a": np.zeros((2, 3), np.float16)}


@pytest.fixture
def sealed(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(save(TENSORS, seal(save(TENSORS))))
    return path


def test_what_is_sealed_is_what_was_saved(sealed):
    verify(sealed)
    found = load(sealed.read_bytes())
    assert all(np.array_equal(found[name], TENSORS[name]) for name in TENSORS)


def test_every_flipped_bit_is_told_or_changes_nothing(sealed):
    whole, told = sealed.read_bytes(), 0
    for place in range(len(whole)):
        sealed.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        try:
            verify(sealed)
            found = load(sealed.read_bytes())
        except Exception:
            told += 1
        else:  # the name of the sum itself, without which there is none to compare with
            assert all(np.array_equal(found[name], TENSORS[name]) for name in TENSORS)
    assert told > len(whole) - 30


@pytest.mark.parametrize("size", [0, 7, 40, -1])
def test_cut_files_are_told(sealed, size):
    sealed.write_bytes(sealed.read_bytes()[:size])
    with pytest.raises(ValueError, match=f"{sealed}: .*copy the run again"):
        verify(sealed)


def test_files_of_others_have_no_sum(tmp_path):
    path = tmp_path / "weights.safetensors"
    for metadata in (None, {"format": "pt"}):
        path.write_bytes(save(TENSORS, metadata))
        verify(path)


@pytest.mark.parametrize("header", [b"[" * 5000, b"[]", b'{"__metadata__": 3}', b"\xff"])
def test_headers_that_are_none_are_told(tmp_path, header):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ValueError, match="damaged header"):
        verify(path)
    path.write_bytes((1 << 60).to_bytes(8, "little") + header)
    with pytest.raises(ValueError, match="too long"):
        verify(path)
