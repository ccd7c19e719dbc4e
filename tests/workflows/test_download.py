"""`decaseg download` from a real server into a real folder, as processes where it is killed."""

import ast
import hashlib
import importlib.util
import io
import json
import tarfile
from pathlib import Path

import pytest

from decaseg.cli import call
from decaseg.storage import msd
from decaseg.storage.layouts import read_dataset
from tests.storage.tars import END, HOSTILE, by_tarfile, gz
from tests.storage.web_server import garbage, says_length, serving, status
from tests.synthetic import write_dataset

NAME = "Task04_Hippocampus"


def archive_of(folder, cases):
    """A small data set as the Decathlon packs its own, macOS's litter included."""
    root = write_dataset(folder, cases=cases)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(root, NAME)
        for name in (f"{NAME}/._dataset.json", f"{NAME}/imagesTr/._case_000.nii.gz"):
            info = tarfile.TarInfo(name)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"mac"))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    return archive_of(tmp_path_factory.mktemp("made") / "set", cases=4)


def download(site, root, *more):
    return call(["download", "4", "--root", str(root), "--url", site.url, *map(str, more)])


def left(root):
    return sorted(p.name for p in root.iterdir()) if root.exists() else []


def is_whole(root, cases=4):
    return is_whole_at(root / NAME, cases)


def is_whole_at(folder, cases):
    files = {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    dataset = read_dataset(folder)
    return len(dataset.training) == cases and len(files) == cases + 1 and "._dataset.json" not in files


def test_it_comes_whole_and_says_what_next(packed, tmp_path, capsys):
    with serving(packed) as site:
        assert download(site, tmp_path) == 0
        printed = capsys.readouterr()
        assert is_whole(tmp_path) and left(tmp_path) == [NAME]
        assert f"decaseg check {tmp_path / NAME}" in printed.out and "4 training and 0 test cases" in printed.out
        assert hashlib.md5(packed).hexdigest() in printed.out and "compared with nothing" in printed.out
        assert "are needed" in printed.err and "are free" in printed.err
        assert "2 files of macOS left out" in printed.err
        asked = len(site.asked)
        assert download(site, tmp_path) == 0 and len(site.asked) == asked
        assert "is there already, and whole" in capsys.readouterr().out
    assert call(["check", str(tmp_path / NAME)]) == 0


@pytest.mark.parametrize("change", [gz, lambda tar: tar + bytes(10240)], ids=["gz", "padded"])
def test_other_packings_come_too(packed, tmp_path, change):
    with serving(change(packed)) as site:
        assert download(site, tmp_path) == 0 and is_whole(tmp_path)


def test_an_archive_that_is_here_is_unpacked_with_the_same_care(packed, tmp_path, capsys):
    archive, root = tmp_path / "a.tar", tmp_path / "root"
    archive.write_bytes(packed)
    words = ["download", "4", "--root", str(root), "--archive", str(archive)]
    assert call([*words, "--md5", "0" * 32]) == 2 and left(root) == []
    assert call([*words, "--sha256", hashlib.sha256(packed).hexdigest().upper()]) == 0 and is_whole(root)
    assert archive.read_bytes() == packed and ", as expected" in capsys.readouterr().out
    archive.write_bytes(HOSTILE["symbolic link"][0]() + END)
    assert call(["download", "5", "--root", str(root), "--archive", str(archive)]) == 2
    assert "a symbolic link" in capsys.readouterr().err and left(root) == [NAME] and archive.exists()


def test_a_task_of_the_ten_says_licence_and_citation(packed, tmp_path, capsys, monkeypatch):
    """The address and the MD5 of one of the ten are this server's, so that no option is needed."""
    with serving(packed) as site:
        task = msd.Task(4, "Hippocampus", hashlib.md5(packed).hexdigest())
        monkeypatch.setattr(msd, "TASKS", (task,))
        monkeypatch.setattr(msd.Task, "url", site.url)
        assert call(["download", "hippocampus", "--root", str(tmp_path)]) == 0
        out = capsys.readouterr().out
        assert "the archive that MONAI keeps" in out and "CC-BY-SA 4.0" in out and "s41467-022-30695-9" in out


def test_an_archive_that_is_not_monai_s_is_refused(packed, tmp_path, capsys, monkeypatch):
    with serving(packed) as site:
        monkeypatch.setattr(msd.Task, "url", site.url)
        assert call(["download", "4", "--root", str(tmp_path)]) == 2
    assert "9d24dba78a72977dbd1d2e110310f31b was expected" in capsys.readouterr().err
    assert left(tmp_path) == []


def test_the_ten_are_those_of_monai():
    """Names, addresses and checksums against their source, read without running it (its import takes seconds)."""
    found = importlib.util.find_spec("monai")
    tree = ast.parse((Path(found.origin).parent / "apps" / "datasets.py").read_text())
    kind = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "DecathlonDataset")
    facts = {n.targets[0].id: ast.literal_eval(n.value) for n in kind.body if isinstance(n, ast.Assign)}
    assert {t.folder: t.url for t in msd.TASKS} == facts["resource"]
    assert {t.folder: t.md5 for t in msd.TASKS} == facts["md5"]


@pytest.mark.parametrize("task", msd.TASKS, ids=lambda t: t.folder)
def test_a_task_goes_by_many_names(task):
    number, name = task.number, task.name
    for words in (task.folder, str(number), f"{number:02d}", name, name.upper(), f"task{number}", task.folder.lower()):
        assert msd.find_task(words) == task
    assert msd.find_task("Brain tumor").number == 1


@pytest.mark.parametrize(
    "words", ["kidney", "0", "11", "Task05_Heart", "", "../4", "4/..", "Task", "-", "hippo campus!"]
)
def test_an_unknown_task_lists_the_known(words, tmp_path, capsys):
    assert call(["download", "--root", str(tmp_path / "r"), "--", words]) == 2
    err = capsys.readouterr().err
    assert all(t.folder in err for t in msd.TASKS) and len(err.splitlines()) == 1
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--url", "file:///etc/passwd"], "http"),
        (["--url", "http://h/a.tar", "--md5", "123"], "--md5 123"),
        (["--url", "http://h/a.tar", "--sha256", "z" * 64], "--sha256"),
        (["--url", "http://h/a.tar", "--archive", "a.tar"], "--url and --archive: give one"),
        (["--archive", "absent.tar"], "absent.tar: there is no such file"),
        (["--url", "http://127.0.0.1:9/a.tar", "--retries", "0"], "Connection refused"),
        (["--url", "http://no.invalid/a.tar"], "the host is not known"),
    ],
)
def test_bad_options_are_one_line(words, says, tmp_path, capsys):
    assert call(["download", "4", "--root", str(tmp_path), *words]) == 2
    err = capsys.readouterr().err
    assert says in err.splitlines()[-1] and "Traceback" not in err and left(tmp_path) == []


@pytest.mark.parametrize("words", ["../evil", "a/b", ".hidden", "x" * 200])
def test_another_name_must_be_plain(words, tmp_path):
    assert call(["download", words, "--root", str(tmp_path / "r"), "--url", "http://127.0.0.1:9/"]) == 2
    assert left(tmp_path) == []


def test_a_data_set_of_one_s_own_has_the_name_given(packed, tmp_path):
    with serving(packed) as site:
        assert call(["download", "Task77_Mine", "--root", str(tmp_path), "--url", site.url]) == 0
    assert left(tmp_path) == ["Task77_Mine"]


@pytest.mark.parametrize("kind", ["parent", "absolute", "symbolic link", "gzip bomb", "twice", "escape"])
def test_a_hostile_archive_leaves_nothing(kind, tmp_path, capsys):
    make, _ = HOSTILE[kind]
    root = tmp_path / "root"
    with serving(make() if kind == "gzip bomb" else make() + END) as site:
        assert download(site, root) == 2
    err = capsys.readouterr().err.splitlines()
    assert "is not unpacked" in err[-1] and "nothing was kept" in err[-1]
    assert left(root) == [] and left(tmp_path) == ["root"]


def dataset_json(**more):
    base = {"labels": {"0": "b", "1": "x"}, "modality": {"0": "MR"},
            "training": [{"image": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz"}]}  # fmt: skip
    return json.dumps(base | more).encode()


FILES = {"T/dataset.json": dataset_json(), "T/imagesTr/a.nii.gz": b"x", "T/labelsTr/a.nii.gz": b"y"}


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({**FILES, "T/imagesTr/a.nii.gz": b""}, "1 of the 2 files listed are missing, first imagesTr/a.nii.gz"),
        ({k: v for k, v in FILES.items() if "labels" not in k}, "first labelsTr/a.nii.gz"),
        ({k: v for k, v in FILES.items() if "json" not in k}, "holds no dataset.json"),
        ({**FILES, "U/dataset.json": b"{}"}, "several data sets"),
        ({**FILES, "T/dataset.json": b"{"}, "not valid JSON"),
        ({"a/b/T/dataset.json": dataset_json()}, "holds no dataset.json"),
        ({**FILES, "T/dataset.json": dataset_json(test=["../../x"])}, "leads out"),
    ],
)
def test_what_is_no_whole_data_set_does_not_become_one(files, says, tmp_path, capsys):
    with serving(by_tarfile(files)) as site:
        assert download(site, tmp_path) == 2
    err = capsys.readouterr().err.splitlines()[-1]
    assert says in err and ".download" not in err and left(tmp_path) == []


@pytest.mark.parametrize("act", [garbage(b"<html>log in</html>" * 99), status(404), says_length(2000)])
def test_garbage_leaves_nothing(packed, act, tmp_path, capsys):
    with serving(packed, act) as site:
        assert download(site, tmp_path) == 2
    assert left(tmp_path) == [] and len(capsys.readouterr().err.splitlines()) <= 3


def test_files_outside_the_data_set_are_left_out_and_said(tmp_path, capsys):
    with serving(by_tarfile({**FILES, "README": b"x", "U/y": b"x"})) as site:
        assert download(site, tmp_path) == 0
    assert "2 files outside T/ left out, first README" in capsys.readouterr().err
    assert sorted(p.name for p in (tmp_path / NAME).iterdir()) == ["dataset.json", "imagesTr", "labelsTr"]


def test_a_folder_that_is_not_whole_is_refused_and_kept_beside_by_force(packed, tmp_path, capsys):
    (tmp_path / NAME / "imagesTr").mkdir(parents=True)
    (tmp_path / NAME / "mine.txt").write_text("dear")
    with serving(packed) as site:
        assert download(site, tmp_path) == 2
        assert "is no whole data set" in capsys.readouterr().err and not site.asked
        assert download(site, tmp_path, "--force") == 0 and is_whole(tmp_path)
        assert (tmp_path / f"{NAME}.before-1" / "mine.txt").read_text() == "dear"
        assert download(site, tmp_path, "--force") == 0
    assert left(tmp_path) == [NAME, f"{NAME}.before-1", f"{NAME}.before-2"]
