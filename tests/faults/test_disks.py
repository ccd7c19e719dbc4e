"""Disks that fail at every single operation, that are full, may not be written to, or are next to none.

Downloads: tests/workflows/test_download_faults.py. Checkpoints and cache on full disks: tests/training, tests/storage.
"""

import shutil
import subprocess

import pytest

from tests.faults.trials import failed, fresh, mounted, spoken, sweep, unmounted
from tests.faults.works import contents

WRITERS = ["preprocess", "train", "predict", "evaluate", "export"]


@pytest.fixture(scope="module")
def half(made, warm, tmp_path_factory):
    """An older bundle, and the predictions of another step: what a failure must leave as it is."""
    root = tmp_path_factory.mktemp("old")
    said = root / "said.txt"
    for name, more in (("export", ["--precision", "fp16"]), ("predict", ["--step", "0.9"])):
        assert warm.run(made.works[name].words(root / name) + more, said) == 0, said.read_text()
    return root


@pytest.mark.parametrize("name", ["preprocess", "save", "predict", "evaluate"])
def test_whichever_operation_fails_what_was_there_stays_and_one_line_says_why(made, warm, half, tmp_path, name):
    """Every n until the command gets through. Old bundles and predictions are there where a new one is to come."""
    old = half / name if (half / name).is_dir() else None
    found = sweep(made, warm, name, tmp_path / "out", old=old)
    assert len(found) > 15 and [one for one in found if one[3]] == []
    assert {what for _, what, *_ in found} >= ({"open", "write"} if name == "preprocess" else {"fsync", "replace"})


def test_whichever_operation_of_drawing_fails_all_scores_are_there(made, warm, tmp_path):
    out, failures = tmp_path / "out", 0
    for number in range(made.steps["evaluate"] - 1, made.steps["pictures"] + 1):  # those before it: the test above
        one = failed(made, warm, "pictures", fresh(out), number)
        assert one.wrong == [], (number, one)
        if "drawing pictures" in one.said:
            assert contents(out).items() >= made.whole["evaluate"].items(), (number, one)
            assert "decaseg draw" in one.said and one.code in (0, 2), (number, one)
            failures += "the rest: decaseg draw" in one.said
    assert failures > 3


def test_whichever_operation_of_an_export_fails_the_bundle_is_the_old_one_or_the_new_one(made, warm, half, tmp_path):
    """Every n of putting a bundle in place of another, and every thirteenth of a whole export: a process each,
    since OpenVINO counts the names it gives to nodes."""
    old = tmp_path / "old"
    old.mkdir()
    for name in ("model.onnx", "MODEL_CARD.md", "bundle.json"):  # of another format: its model goes
        (old / name).write_text('{"old": 1}\n')
    found = sweep(made, warm, "take", tmp_path / "out", old=old)
    assert len(found) > 30 and [one for one in found if one[3]] == []
    for number in range(3, made.steps["export"], 13):
        one = failed(made, warm, "export", fresh(tmp_path / "out"), number, old=half / "export")
        assert one.wrong == [], (number, one)


@pytest.mark.parametrize("name", ["preprocess", "train", "evaluate"])
def test_a_disk_that_is_full_from_some_moment_on(made, warm, half, tmp_path, name):
    old = half / name if (half / name).is_dir() else None
    found = sweep(made, warm, name, tmp_path / "out", old=old, lasting=True, stride=41)
    assert len(found) > 1 and [one for one in found if one[3]] == []


@pytest.mark.parametrize("name", WRITERS)
def test_a_small_disk_and_one_that_may_only_be_read_are_one_line_each(made, warm, tmp_path, name):
    """Real ones: OpenVINO writes its files past Python's."""
    disk, said = tmp_path / "disk", tmp_path / "said.txt"
    size_kib = sum(p.stat().st_size for p in (made.root / f"{name}-whole").rglob("*") if p.is_file()) // 1024
    for kib, read_only in ((max(8, size_kib // 3), False), (64, True)):
        if not mounted(disk, kib):
            pytest.skip("needs the right to mount a tmpfs")
        try:
            if read_only:
                subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
            code, text = made.works[name].run(warm, disk / "out", said), said.read_text()
            assert code != 0 or name == "train", text
            if name != "preprocess":  # which has no command line of its own
                assert spoken(code, text) == []
            assert "No space" in text or "Read-only" in text, text
            assert not made.works[name].wrong(disk / "out", made.whole[name])
        finally:
            unmounted(disk)


@pytest.mark.parametrize("name", ["train", "predict", "evaluate", "export"])
def test_few_open_files_short_files_and_next_to_no_shared_memory(made, warm, tmp_path, name):
    said, folder = tmp_path / "said.txt", tmp_path / "out"
    for limits in ({"RLIMIT_NOFILE": 7}, {"RLIMIT_NOFILE": 12}, {"RLIMIT_FSIZE": 2000}):
        code = made.works[name].run(warm, fresh(folder), said, limits=limits)
        assert spoken(code, said.read_text()) == [] and code in (0, 2), said.read_text()
        assert not folder.exists() or not made.works[name].wrong(folder, made.whole[name])
    if str(tmp_path).startswith("/dev/shm"):
        pytest.skip("the tests' own folder is there")
    shutil.rmtree(folder, ignore_errors=True)
    code = made.works[name].run(warm, folder, said, shm_kib=4)
    if code == 77:
        pytest.skip("needs the right to mount a tmpfs")
    assert code == 0 and contents(folder) == made.whole[name], said.read_text()
