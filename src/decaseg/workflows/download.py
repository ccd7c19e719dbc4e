"""`decaseg download`: one of the ten Decathlon data sets, or one from any address, fetched, verified and unpacked.

All that is not finished lies in the hidden folder `.NAME.download` beside the data set; NAME itself appears by one
rename, when everything in it was checked. Whatever ends the command, the same command goes on from there.
"""

from __future__ import annotations

import errno
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from decaseg.reporting.amounts import amount
from decaseg.reporting.progress import Advance, transfer
from decaseg.storage import msd
from decaseg.storage.archive import Contents, Hostile, survey, unpack
from decaseg.storage.dataset import Dataset
from decaseg.storage.fetch import Fetched, Patience, Watcher, fetch, verified
from decaseg.storage.files import sync_folder
from decaseg.storage.layouts import read_dataset
from decaseg.storage.lock import held
from decaseg.storage.part import Source
from decaseg.storage.stream import Damaged
from decaseg.storage.tar import kind_of
from decaseg.storage.web import check_url

DISK_BLOCK_BYTES = 4096  # what a small file takes at least
SPARE_BYTES = 1 << 20
FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Wanted:
    """What to fetch and the name of the data set's folder; `task` where it is one of the ten, from MONAI or not.

    With `archive`, a file that is here already, nothing is fetched; `source.url` is then its path.
    """

    name: str
    source: Source
    task: msd.Task | None
    archive: Path | None = None


def run(
    task: str,
    root: Path,
    url: str | None = None,
    md5: str | None = None,
    sha256: str | None = None,
    force: bool = False,
    patience: Patience = Patience(),
    archive: Path | None = None,
) -> int:
    """Makes `root/TaskNN_Name` and returns 0; where it is there and whole, says so and does nothing.

    `archive` is a file to unpack instead of fetching one; it is left as it is.
    With `force` a folder of that name is kept beside, as NAME.before-1. ValueError for unknown tasks, final answers of
    the server, too little space, archives that are damaged, hostile or no data set, and a folder that is not whole.
    """
    wanted = _wanted(task, url, md5, sha256, archive)
    target, work = root / wanted.name, root / f".{wanted.name}.download"
    if not force and _is_there(target):
        print(f"{target} is there already, and whole; --force fetches it anew")
        _sweep(work)
        return 0
    with _alone(work, wanted.name):
        if not force and _is_there(target):  # another process was quicker
            print(f"{target} is there already, and whole; --force fetches it anew")
        else:
            try:
                _download(wanted, root, target, work, patience)
            except KeyboardInterrupt:
                _say("what was fetched is kept; run the same command again to go on")
                raise
        shutil.rmtree(work)
    return 0


def _download(wanted: Wanted, root: Path, target: Path, work: Path, patience: Patience) -> None:
    shutil.rmtree(work / "unpacked", ignore_errors=True)  # of a run that was killed
    with _disk_full(root):
        _say(f"{wanted.name}: {'reading' if wanted.archive else 'fetching'} {wanted.source.url}")
        with transfer("reading" if wanted.archive else "fetching") as advance:
            if wanted.archive:
                fetched = verified(wanted.archive, wanted.source, advance)
            else:
                fetched = fetch(wanted.source, work, patience, _watcher(root, advance))
        if fetched.there_before_bytes:
            _say(f"{fetched.there_before_bytes:,} of {fetched.size_bytes:,} bytes were there from an earlier run")
        with _or_nothing(work, wanted):
            contents, inner = _survey(fetched.path, wanted)
        _need(root, contents.total_bytes + DISK_BLOCK_BYTES * (len(contents.files) + len(contents.folders)), "")
        with _or_nothing(work, wanted):
            with transfer("unpacking") as advance:
                unpack(fetched.path, work / "unpacked", advance)
            dataset = _whole(work / "unpacked" / inner, wanted.name)
    _put(work / "unpacked" / inner, target)
    _tell(wanted, target, dataset, fetched, contents)


def _wanted(task: str, url: str | None, md5: str | None, sha256: str | None, archive: Path | None) -> Wanted:
    if url is not None and archive is not None:
        raise ValueError("--url and --archive: give one of them")
    found, elsewhere = msd.find_task(task), url is not None or archive is not None
    if found is None and (not elsewhere or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{1,99}", task)):
        hint = "give one by name or number" if not elsewhere else "or a plain new name for the folder"
        raise ValueError(f"TASK {task!r}: is none of {msd.known()}; {hint}")
    for name, text, digits in (("--md5", md5, 32), ("--sha256", sha256, 64)):
        if text is not None and not re.fullmatch(f"[0-9a-fA-F]{{{digits}}}", text):
            raise ValueError(f"{name} {text}: must be {digits} hexadecimal digits, as md5sum or sha256sum print them")
    folder = found.folder if found else task
    sums = (md5 and md5.lower(), sha256 and sha256.lower())
    if archive is not None:
        if not archive.is_file():
            raise ValueError(f"--archive {archive}: there is no such file; name a .tar or .tar.gz")
        return Wanted(folder, Source(str(archive), *sums), found, archive)
    if url is None and found is not None:
        url, md5 = found.url, md5 or found.md5
    assert url is not None
    check_url(url)
    return Wanted(folder, Source(url, md5 and md5.lower(), sums[1]), found)


@contextmanager
def _alone(work: Path, name: str) -> Iterator[None]:
    """Makes the hidden folder and holds it; what a failed run leaves in it is kept only where it helps the next."""
    if work.is_symlink() or (work.exists() and not work.is_dir()):
        raise ValueError(f"{work}: is not a folder of decaseg download; remove it")
    work.mkdir(parents=True, exist_ok=True)
    try:
        with held(work) as locked:
            if not locked:
                _say(f"this file system has no locks: see that no second download of {name} runs in {work.parent}")
            yield
            return
    except BlockingIOError:
        text = f"another decaseg download of {name} is running in this folder; wait until it has ended"
        raise ValueError(f"{work.parent}: {text}") from None
    except FileNotFoundError as error:
        if error.filename == str(work):
            raise ValueError(
                f"{work.parent}: another decaseg download of {name} has just ended; run it again"
            ) from None
        raise
    finally:
        _sweep(work, only_if_empty=True)


def _sweep(work: Path, only_if_empty: bool = False) -> None:
    """Removes the hidden folder of a download, unless another process works in it or it has bytes worth keeping."""
    with suppress(OSError):
        if work.is_symlink() or not work.is_dir():
            return
        part = work / "archive.part"
        if only_if_empty and part.is_file() and part.stat().st_size:
            return
        with held(work):
            shutil.rmtree(work)


def _is_there(target: Path) -> bool:
    """Whether the data set is there and whole; a ValueError where something else is at its place."""
    if (not target.exists() and not target.is_symlink()) or (target.is_dir() and not any(target.iterdir())):
        return False
    try:
        _whole(target, str(target))
    except ValueError as error:
        text = "--force fetches the data set and keeps what is there beside it, as NAME.before-1"
        raise ValueError(f"{target}: is there already, but is no whole data set ({error}); {text}") from None
    return True


def _whole(folder: Path, shown: str) -> Dataset:
    """The data set in `folder`; a ValueError where files that dataset.json lists are missing or empty."""
    try:
        dataset = read_dataset(folder)
    except ValueError as error:
        raise ValueError(str(error).replace(str(folder), shown)) from None
    listed = [p for case in (*dataset.training, *dataset.test) for p in (case.image, case.label) if p is not None]
    missing = [p for p in listed if not p.is_file() or not p.stat().st_size]
    if missing:
        first = missing[0].relative_to(folder)
        raise ValueError(f"{shown}: {len(missing)} of the {len(listed)} files listed are missing, first {first}")
    return dataset


def _survey(archive: Path, wanted: Wanted) -> tuple[Contents, str]:
    """What the archive holds, and the folder in it that holds dataset.json."""
    with transfer("looking through the archive") as advance:
        contents = survey(archive, advance)
    tops = [name for name in contents.files if name.count("/") <= 1 and name.split("/")[-1] == "dataset.json"]
    if "dataset.json" in tops:
        tops = ["dataset.json"]
    if len(tops) != 1:
        text = "holds no dataset.json" if not tops else f"holds several data sets ({', '.join(sorted(tops)[:3])})"
        raise ValueError(f"{text}; an archive must hold one folder in the Decathlon's layout")
    inner = tops[0].rpartition("/")[0]
    beside = [name for name in contents.files if inner and not name.startswith(inner + "/")]
    if beside:
        _say(f"{_files(len(beside))} outside {inner}/ left out, first {beside[0]}")
    if contents.skipped:
        _say(f"{_files(len(contents.skipped))} of macOS left out (._*, .DS_Store), first {contents.skipped[0]}")
    return contents, inner


@contextmanager
def _or_nothing(work: Path, wanted: Wanted) -> Iterator[None]:
    """An archive that cannot become a data set is removed: fetching it again may give another one."""
    try:
        yield
    except ValueError as error:
        shutil.rmtree(work, ignore_errors=True)
        if isinstance(error, Damaged):
            text = f"the archive {error}; get it again, with --sha256 or --md5 where one is known"
        elif isinstance(error, Hostile):
            text = f"the archive is not unpacked: it {error}"
        else:
            text = f"the archive is of no use: {error}"
        raise ValueError(f"{wanted.source.url}: {text}; nothing was kept") from None


def _watcher(root: Path, advance: Advance) -> Watcher:
    def judge_size(total: int, there: int) -> None:
        if not total:
            _say("the server does not say how large the archive is")
            return
        _need(root, total - there + total, f"{amount(total - there)} to fetch and about {amount(total)} to unpack")

    def judge_head(head: bytes) -> str:
        kind = kind_of(head)
        return f"the server sent {kind}, not a tar or tar.gz archive" if kind else ""

    return Watcher(advance, _say, judge_size, judge_head)


def _need(root: Path, size_bytes: int, what: str) -> None:
    """A ValueError with numbers where the disk has less than this many bytes free."""
    need, free = size_bytes + SPARE_BYTES, shutil.disk_usage(root).free
    words = f"{amount(need)} are needed{f' ({what})' if what else ' to unpack'}, {amount(free)} are free"
    if need > free:
        way = "make room, or choose another disk with --root; what was fetched is kept"
        raise ValueError(f"{root}: {words}; {way}")
    if what:
        _say(words)


@contextmanager
def _disk_full(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise ValueError(f"{root}: the disk is full; make room and run the same command again to go on") from None


def _put(folder: Path, target: Path) -> None:
    """One rename makes the data set; what was there is kept beside it."""
    if target.is_symlink() or (target.exists() and not (target.is_dir() and not any(target.iterdir()))):
        number = 1
        while (beside := target.with_name(f"{target.name}.before-{number}")).exists() or beside.is_symlink():
            number += 1
        target.rename(beside)
        _say(f"what was there before is {beside} now; delete it when you need it no more")
    folder.replace(target)
    sync_folder(target.parent)


def _tell(wanted: Wanted, target: Path, dataset: Dataset, fetched: Fetched, contents: Contents) -> None:
    files = f"{amount(contents.total_bytes)} in {_files(len(contents.files))}"
    print(f"{target}: {len(dataset.training)} training and {len(dataset.test)} test cases, {files}")
    known = wanted.task is not None and fetched.md5 == wanted.task.md5
    sums = f"SHA-256 {fetched.sha256}, as expected" if fetched.sha256 else f"MD5 {fetched.md5}"
    if known:
        sums += ", the archive that MONAI keeps"
    elif wanted.source.md5:
        sums += ", as expected"
    elif not fetched.sha256:
        sums += ", compared with nothing (--sha256 or --md5 would)"
    print(f"archive: {fetched.size_bytes:,} bytes, {sums}")
    if known:
        print(f"licence: {msd.LICENCE}")
        print(f"cite:    {msd.CITATION}")
    else:
        print(f"licence: ask those who gave you {wanted.source.url}")
    print(f"next:    decaseg check {shlex.quote(str(target))}")


def _files(count: int) -> str:
    return f"{count:,} file" if count == 1 else f"{count:,} files"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
