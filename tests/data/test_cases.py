import os
import time
from dataclasses import replace

import numpy as np
import pytest

from decaseg.data import cases as module
from decaseg.data.cases import PLACES_PER_LABEL, prepare_cases
from decaseg.data.normalise import Normalisation
from decaseg.data.preprocess import Preprocessing
from decaseg.storage import nifti
from decaseg.storage.cache import Cache
from decaseg.storage.layouts import read_dataset
from decaseg.volume import Volume
from tests.synthetic import write_dataset

HOW = Preprocessing(("MRI",), (0,), 1, (1.0, 1.0, 1.0), (Normalisation("zscore_nonzero"),))


@pytest.fixture
def data(tmp_path):
    return read_dataset(write_dataset(tmp_path / "data", cases=3, shape=(12, 14, 10)))


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


@pytest.fixture
def made(monkeypatch):
    """The names of the cases that were really preprocessed, in order."""
    names = []
    real = module._make
    monkeypatch.setattr(module, "_make", lambda files, how: (names.append(files.case), real(files, how))[1])
    return names


def test_a_second_run_preprocesses_nothing_and_gives_the_same(data, cache, made):
    first = prepare_cases(data.training, HOW, cache)
    assert sorted(made) == [files.case for files in data.training]
    second = prepare_cases(data.training, HOW, cache)
    assert len(made) == 3
    for a, b in zip(first, second, strict=True):
        assert a.case == b.case and isinstance(b.image, np.memmap)
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.label, b.label)


@pytest.mark.parametrize("which", ["image", "label"])
def test_a_changed_file_is_preprocessed_again_whatever_its_date(data, cache, made, which):
    prepare_cases(data.training, HOW, cache)
    path = getattr(data.training[1], which)
    before, volume = path.stat(), nifti.read(path)
    changed = volume.array.copy()
    changed[0, 5, 5, 5] = 1 if changed[0, 5, 5, 5] != 1 else 2
    nifti.write(path, Volume(changed.astype(np.int16), volume.grid))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    made.clear()
    prepare_cases(data.training, HOW, cache)
    assert made == [data.training[1].case]


def test_other_preprocessing_has_another_entry(data, cache, made):
    prepare_cases(data.training, HOW, cache)
    coarse = prepare_cases(data.training, replace(HOW, spacing_mm=(2.0, 2.0, 2.0)), cache)
    assert len(made) == 6
    fine = prepare_cases(data.training, HOW, cache)
    assert len(made) == 6 and fine[0].label.size > 4 * coarse[0].label.size


def test_what_a_kill_left_behind_is_ignored(data, cache, made):
    cache.folder.mkdir()
    torn = cache.folder / ".0123456789abcdef.12ab34cd.tmp"
    torn.mkdir()
    (torn / "image.npy").write_bytes(b"\x93NUMPY half")
    assert len(prepare_cases(data.training, HOW, cache)) == 3
    assert len(made) == 3


@pytest.mark.parametrize("damage", ["flip", "zeros", "cut", "absent", "facts"])
def test_a_damaged_entry_is_made_anew_and_never_given_out(data, cache, made, damage):
    (sound,) = prepare_cases(data.training[:1], HOW, cache)
    expected = np.array(sound.image)
    (entry,) = cache.folder.iterdir()
    path = entry / ("facts.json" if damage == "facts" else "image.npy")
    content = path.read_bytes()
    damaged = {
        "flip": content[:-9] + bytes([content[-9] ^ 4]) + content[-8:],
        "zeros": content[:512] + bytes(512) + content[1024:],
        "cut": content[:-1],
        "facts": content.replace(b"crc32", b"crc31"),
    }
    path.unlink()  # written anew, not changed in place: the first case has it mapped
    if damage != "absent":
        assert damaged[damage] != content
        path.write_bytes(damaged[damage])
    for calls in (2, 2):
        (case,) = prepare_cases(data.training[:1], HOW, cache)
        assert len(made) == calls
        np.testing.assert_array_equal(case.image, expected)


def test_cases_made_by_other_code_are_not_used(data, cache, made, monkeypatch):
    prepare_cases(data.training, HOW, cache)
    monkeypatch.setattr(module, "code_sum", lambda: "a later version's")
    prepare_cases(data.training, HOW, cache)
    assert len(made) == 6


def test_a_file_that_changes_while_it_is_read_is_not_cached_under_its_old_content(data, cache, monkeypatch):
    files, real = data.training[0], module._make

    def make_and_change(files, how):
        arrays = real(files, how)
        nifti.write(files.label, Volume.of(np.ones((12, 14, 10), np.uint8)))
        return arrays

    monkeypatch.setattr(module, "_make", make_and_change)
    with pytest.raises(ValueError, match=r"case_000\.nii\.gz: it or its label changed while it was read"):
        prepare_cases([files], HOW, cache)
    assert not list(cache.folder.glob("*"))


def test_an_exception_from_the_caller_ends_it_and_keeps_what_is_done(data, cache, made):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_cases(data.training, HOW, cache, threads=1, on_case=stop)
    before = len(made)
    assert 1 <= before <= 3
    prepare_cases(data.training, HOW, cache)
    assert len(made) == 3


def test_places_are_voxels_of_their_label_spread_over_it(tmp_path, cache):
    data = read_dataset(write_dataset(tmp_path / "big", cases=1, shape=(40, 44, 36)))
    (case,) = prepare_cases(data.training, HOW, cache)
    assert set(case.places) == {1, 2}
    for value, places in case.places.items():
        assert (case.label[tuple(places.T)] == value).all()
        assert len(places) == min(PLACES_PER_LABEL, np.count_nonzero(case.label == value))
        assert len(np.unique(places, axis=0)) == len(places)


def test_cases_come_in_the_order_asked_and_progress_is_told(data, cache, made, monkeypatch):
    real = module._prepare
    monkeypatch.setattr(module, "_prepare", lambda f, *r: (time.sleep(0.05 * (f.case == "case_000")), real(f, *r))[1])
    told = []
    found = prepare_cases(data.training, HOW, cache, threads=3, on_case=lambda n, total: told.append((n, total)))
    assert [case.case for case in found] == [files.case for files in data.training]
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_file_that_cannot_be_used_is_named(data, cache):
    path = data.training[2].image
    image = nifti.read(path)
    broken = image.array.astype(np.float32)
    broken[0, 3, 3, 3] = np.nan
    nifti.write(path, Volume(broken, image.grid))
    with pytest.raises(ValueError, match=r"case_002\.nii\.gz: holds NaN"):
        prepare_cases(data.training, HOW, cache)
    nifti.write(path, Volume.of(np.ones((5, 5, 5), np.int16)))
    with pytest.raises(ValueError, match=r"case_002\.nii\.gz: shape"):
        prepare_cases(data.training, HOW, cache)
