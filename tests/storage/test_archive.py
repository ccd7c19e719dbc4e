"""Hostile, damaged and ordinary archives: nothing outside the target, nothing at all of what is refused."""

import os
import resource
import subprocess
import tarfile
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from decaseg.storage.archive import Hostile, Limits, survey, unpack
from decaseg.storage.stream import Damaged
from decaseg.storage.tar import kind_of
from tests.storage.tars import DAMAGED, END, HOSTILE, OK, bomb, by_tarfile, folder, gz, member, named, pax


def quiet(*_):
    pass


def written(path, data):
    path.write_bytes(data)
    return path


def all_below(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


@pytest.mark.parametrize("packed", [False, True], ids=["tar", "tar.gz"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_archive_is_refused_by_name_and_reason(tmp_path, kind, packed):
    make, says = HOSTILE[kind]
    data = make()
    data = data if data.startswith(b"\x1f\x8b") else (gz(data + END) if packed else data + END)
    archive, inside = written(tmp_path / "a.tar", data), tmp_path / "box"
    inside.mkdir()
    for work in (lambda: survey(archive, quiet), lambda: unpack(archive, inside / "new", quiet)):
        with pytest.raises(Hostile, match=says) as raised:
            work()
        assert len(str(raised.value)) < 400 and str(raised.value).isprintable()
    assert {*all_below(tmp_path)} <= {"a.tar", "box", "box/new", "box/new/d", "box/new/d/a.txt", "box/new/d/\u00e9"}
    assert not Path("/tmp/evil").exists()


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_archive_is_refused(tmp_path, kind):
    make, says = DAMAGED[kind]
    archive = written(tmp_path / "a.tar", make())
    with pytest.raises(Damaged, match=says):
        survey(archive, quiet)


def test_a_bomb_costs_neither_memory_nor_time(tmp_path):
    archive = written(tmp_path / "a.tar.gz", bomb(gib=40))
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(Hostile, match="a bomb"):
        survey(archive, quiet)
    assert time.process_time() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


def test_a_bomb_of_many_small_members_is_stopped_where_it_has_grown(tmp_path):
    small = gz(b"".join(member(f"d/{n}", bytes(1 << 20)) for n in range(300)) + END)
    with pytest.raises(Hostile, match="a bomb"):
        survey(written(tmp_path / "a.tar.gz", small), quiet)


@pytest.mark.parametrize(
    "data",
    [
        b"".join(member(f"d/{n}") for n in range(60)),
        b"".join(folder("d/") for n in range(60)),
        b"".join(named(f"{n}/" * 8 + "x", b"") for n in range(10)),
    ],
    ids=["files", "one folder again and again", "folders that only names speak of"],
)
def test_too_many_members_are_refused(tmp_path, data):
    with pytest.raises(Hostile, match="more than 50"):
        survey(written(tmp_path / "a.tar", data + END), quiet, Limits(members=50))


def test_a_long_chain_of_long_names_needs_no_recursion(tmp_path):
    chain = member("n", b"abc\0", b"L") * 5000 + member("x", b"1") + END
    assert survey(written(tmp_path / "a.tar", chain), quiet).files == {"abc": 1}


FILES = {
    "Task04/dataset.json": b"{}", "Task04/imagesTr/a.nii.gz": b"a" * 1000, "Task04/imagesTr/b.nii.gz": b"b" * 512,
    "Task04/labelsTr/" + "c" * 90 + "/" + "d" * 60 + ".nii.gz": b"", "Task04/ümlaut 脳.txt": b"x" * 2_000_000,
}  # fmt: skip


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("packed", [False, True])
def test_ordinary_archives_come_out_as_they_went_in(tmp_path, form, packed):
    data = by_tarfile(FILES, form)
    archive = written(tmp_path / "a", gz(data) if packed else data)
    found = survey(archive, quiet, Limits(ratio=1e6))
    assert found == unpack(archive, tmp_path / "new", quiet, Limits(ratio=1e6))
    assert found.files == {name: len(data) for name, data in FILES.items()}
    assert {name: (tmp_path / "new" / name).read_bytes() for name in FILES} == FILES
    assert sum(p.is_file() for p in (tmp_path / "new").rglob("*")) == len(FILES)


def test_what_tar_of_the_system_packs_is_unpacked(tmp_path):
    for name, data in FILES.items():
        path = tmp_path / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    for form in ("gnu", "pax", "ustar"):
        archive = tmp_path / f"{form}.tar"
        subprocess.run(["tar", "-C", tmp_path / "src", f"--format={form}", "-cf", archive, "."], check=True)
        unpack(archive, tmp_path / form, quiet)
        assert {name: (tmp_path / form / name).read_bytes() for name in FILES} == FILES


def test_a_size_beyond_the_old_field_comes_from_pax(tmp_path):
    data = pax({"size": "700", "mtime": "1.5"}) + member("d/a", b"x" * 700, size=0) + END
    assert survey(written(tmp_path / "a", data), quiet).files == {"d/a": 700}


def test_modes_and_owners_are_not_taken_over(tmp_path):
    info = tarfile.TarInfo("d/a")
    info.mode, info.uid, info.mtime = 0o6777, 12345, 0
    archive = written(tmp_path / "a", info.tobuf() + END)
    unpack(archive, tmp_path / "new", quiet)
    state = (tmp_path / "new" / "d" / "a").stat()
    assert not state.st_mode & 0o6022 and state.st_uid == os.getuid() and state.st_mtime > 1e9


def test_macos_litter_is_left_out_and_said(tmp_path):
    litter = ("d/._a.txt", "._d", "d/.DS_Store", "__MACOSX/d/x")
    archive = written(tmp_path / "a", OK + b"".join(member(name, b"junk") for name in litter) + END)
    found = unpack(archive, tmp_path / "new", quiet)
    assert found.skipped == litter and found.files == {"d/a.txt": 4}
    assert all_below(tmp_path / "new") == ["d", "d/a.txt"]


def test_nothing_is_written_over(tmp_path):
    archive = written(tmp_path / "a", OK + END)
    (tmp_path / "new").mkdir()
    with pytest.raises(FileExistsError):
        unpack(archive, tmp_path / "new", quiet)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(st.sampled_from("aB./\\: \n\0é\u0301~-…\udc80"), max_size=12), min_size=1, max_size=6))
@example(["a", "a/"])
@example(["a/./b", "a/b"])
def test_whatever_the_names_nothing_leaves_the_target(tmp_path_factory, names):
    """What is not refused lies inside, every file under its own name with its own content."""
    box = tmp_path_factory.mktemp("box")
    data = b"".join(named(name, str(n).encode()) for n, name in enumerate(names)) + END
    archive = written(box / "archive", data)
    found = None
    with suppress(Hostile, Damaged):
        found = unpack(archive, box / "in", quiet)
    outside = [p for p in all_below(box) if p.split("/")[0] not in ("archive", "in")]
    assert not outside
    if found is not None:
        kept = sorted(p.read_bytes() for p in (box / "in").rglob("*") if p.is_file())
        assert len(kept) == len(found.files) and len(found.files) + len(found.skipped) == len(names)
        assert all((box / "in" / name).resolve().is_relative_to(box / "in") for name in found.files)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_flipped_and_cut_archives_are_read_or_refused(tmp_path_factory, data):
    box = tmp_path_factory.mktemp("box")
    good = bytearray(by_tarfile({"d/a": b"x" * 700, "d/" + "b" * 120: b"y" * 40}))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(good)))
    archive = written(box / "archive", bytes(good[:cut]))
    with suppress(Hostile, Damaged):
        unpack(archive, box / "in", quiet)
    assert {p.split("/")[0] for p in all_below(box)} <= {"archive", "in"}
    assert sum(p.stat().st_size for p in (box / "in").rglob("*") if p.is_file()) <= len(good)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (OK[:512], ""), (gz(OK)[:512], ""), (b"PK\x03\x04", "zip"), (b"BZh9", "bzip2"), (b"\xfd7zXZ\0", "xz"),
        (b"  <html><body>", "web page"), (b"<?xml version='1.0'?><Error>", "web page"), (b"", "something"),
        (b"{}", "something"),
    ],
    ids=["tar", "gzip", "zip", "bzip2", "xz", "html", "xml", "nothing", "json"],  # gzip's bytes hold the time of day
)  # fmt: skip
def test_the_first_bytes_tell_what_it_is(head, kind):
    assert kind in kind_of(head) if kind else kind_of(head) == ""
