import subprocess
import sys

import pytest

from decaseg.storage.output import one_of_writers, only_writer

LEFT = ".case.0123abcd.tmp.nii.gz"  # as a killed writer leaves it


def test_a_folder_has_one_writer_or_several_that_share_it_and_none_is_left_behind_empty(tmp_path):
    folder = tmp_path / "deep" / "out"
    with only_writer(folder):
        for other in (only_writer, one_of_writers):
            with pytest.raises(ValueError, match="another process is writing there"), other(folder):
                pass
    assert not folder.exists()
    with one_of_writers(folder), one_of_writers(folder):
        with pytest.raises(ValueError, match="another process is writing there"), only_writer(folder):
            pass
        (folder / "a").touch()
    with only_writer(folder):
        pass
    assert (folder / "a").exists()


def test_what_killed_writers_left_goes_but_not_what_others_are_writing(tmp_path):
    for place in (tmp_path, tmp_path / "below"):
        place.mkdir(exist_ok=True)
        (place / LEFT).touch()
    with one_of_writers(tmp_path, "below"):
        assert not (tmp_path / LEFT).exists() and not (tmp_path / "below" / LEFT).exists()
        (tmp_path / LEFT).touch()
        with one_of_writers(tmp_path):
            assert (tmp_path / LEFT).exists()
    with only_writer(tmp_path):
        assert not (tmp_path / LEFT).exists()


def test_the_lock_of_a_killed_process_is_none(tmp_path):
    program = ("import os, sys; from pathlib import Path; from decaseg.storage.output import only_writer\n"
               "with only_writer(Path(sys.argv[1])): os._exit(9)")  # fmt: skip
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path / "out")]).returncode == 9
    with only_writer(tmp_path / "out"):
        pass
