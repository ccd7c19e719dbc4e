"""Images at work are private, and gone when the server is, however it ended."""

import stat

import pytest

from decaseg.serving.refusal import Refusal
from decaseg.serving.spool import Spool, create_private


def test_folders_and_files_are_private(tmp_path):
    spool = Spool(tmp_path / "spool", 100)
    folder = spool.new_folder()
    create_private(folder / "a")
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "spool", spool.folder, folder, folder / "a")]
    assert modes == [0o700, 0o700, 0o700, 0o600]
    spool.close()
    assert not (tmp_path / "spool").exists()


def test_a_file_that_is_there_is_not_written_to(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    with pytest.raises(FileExistsError):
        create_private(tmp_path / "a")


def test_what_killed_servers_left_goes_and_living_ones_keep_theirs(tmp_path):
    living = Spool(tmp_path / "spool", 100)
    kept = living.new_folder()
    left = tmp_path / "spool" / "run-dead"
    (left / "x").mkdir(parents=True)
    (tmp_path / "else").mkdir()
    (tmp_path / "spool" / "run-link").symlink_to(tmp_path / "else")
    Spool(tmp_path / "spool", 100)
    assert kept.is_dir() and not left.exists() and (tmp_path / "else").is_dir()


@pytest.mark.parametrize("kind", ["open", "link", "file"])
def test_a_root_that_others_could_read_is_refused(tmp_path, kind):
    root = tmp_path / "spool"
    if kind == "open":
        root.mkdir()
        root.chmod(0o755)
    elif kind == "link":
        (tmp_path / "mine").mkdir(mode=0o700)
        root.symlink_to(tmp_path / "mine")
    else:
        root.write_text("")
    with pytest.raises(ValueError, match="--spool"):
        Spool(root, 100)


def test_bytes_are_counted_and_given_back(tmp_path):
    spool = Spool(tmp_path / "spool", 100)
    one, two = spool.new_folder(), spool.new_folder()
    spool.take(one, 60)
    with pytest.raises(Refusal) as caught:
        spool.take(two, 41)
    assert caught.value.status == 429
    spool.remove(one)
    spool.remove(one)
    spool.take(two, 100)
