import signal
import subprocess
import sys

import pytest

from decaseg.storage import lock
from decaseg.storage.lock import held

HOLD = "import sys, time; from pathlib import Path; from decaseg.storage.lock import held\n" \
       "with held(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"  # fmt: skip


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_lock_is_one_process_s_until_that_dies(tmp_path, kind):
    path = tmp_path / "thing"
    path.mkdir() if kind == "folder" else path.touch()
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE)
    try:
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(BlockingIOError), held(path):
            pass
        child.send_signal(signal.SIGKILL)
        child.wait()
        with held(path) as locked:
            assert locked
    finally:
        child.kill()
        child.stdout.close()


def test_nothing_is_made_where_there_is_nothing(tmp_path):
    with pytest.raises(FileNotFoundError), held(tmp_path / "absent"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_folder_that_another_process_made_anew_meanwhile_is_not_held(tmp_path, monkeypatch):
    path = tmp_path / "thing"
    path.mkdir()

    def replaced(_descriptor, _shared):
        path.rmdir()
        path.mkdir()
        return True

    monkeypatch.setattr(lock, "_locked", replaced)
    with pytest.raises(BlockingIOError, match="replaced"), held(path):
        pass
    monkeypatch.setattr(lock, "_locked", lambda *_: path.rmdir() or True)
    with pytest.raises(FileNotFoundError), held(path):
        pass
