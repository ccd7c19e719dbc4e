"""Manifests: sha256sum reads them, and no change of any file goes unnoticed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decaseg.storage.manifest import Difference, compare, read_manifest, sums_of, write_manifest

NAMES = ["a.nii.gz", "b c.txt", "deep/er/d", ".hidden", "back\\slash", "line\nbreak", "ü"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, name in enumerate(NAMES):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number]) * (number * 100))
    return tmp_path / "data"


def written(root: Path, file: Path) -> dict[str, str]:
    sums, unreadable = sums_of(root, file)
    assert not unreadable
    write_manifest(file, sums)
    return sums


def test_it_comes_back_and_sha256sum_agrees(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "sums.txt"
    sums = written(root, file)
    assert sorted(sums) == sorted(NAMES)
    assert read_manifest(file) == sums
    if shutil.which("sha256sum"):
        done = subprocess.run(["sha256sum", "--strict", "-c", str(file)], cwd=root, capture_output=True, text=True)
        assert done.returncode == 0 and done.stdout.count(": OK") == len(NAMES), done


def test_a_manifest_inside_the_folder_is_not_its_own_business(root: Path) -> None:
    file = root / "sums.txt"
    sums = written(root, file)
    assert sums_of(root, file)[0] == sums


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(NAMES[1:]), place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_every_flipped_bit_is_noticed(root: Path, tmp_path: Path, name: str, place: int, bit: int) -> None:
    then, _ = sums_of(root, tmp_path / "none")
    path = root / name
    before = path.read_bytes()
    data = bytearray(before)
    data[place % len(data)] ^= 1 << bit
    path.write_bytes(data)
    now, unreadable = sums_of(root, tmp_path / "none")
    path.write_bytes(before)
    assert compare(then, now, unreadable) == Difference((name,), (), (), ())


def test_missing_new_and_unreadable_files(root: Path, tmp_path: Path) -> None:
    then, _ = sums_of(root, tmp_path / "none")
    (root / "a.nii.gz").unlink()
    (root / "new").write_text("x")
    (root / "ü").unlink()
    (root / "ü").symlink_to("nowhere")
    now, unreadable = sums_of(root, tmp_path / "none")
    assert compare(then, now, unreadable) == Difference((), ("a.nii.gz",), ("new",), ("ü",))


@pytest.mark.parametrize("text", ["hello\n", "", "abc  x\n", "0" * 64 + "  x\n" + "1" * 64 + "  x\n"])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "m"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"^--manifest .*m: "):
        read_manifest(file)
