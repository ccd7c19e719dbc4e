"""Hostile archives of `tests.storage.tars` through `archive.unpack`, beside shutil, tarfile's filter and MONAI.

Nothing may be written outside of the target, nothing but plain files and folders inside, and of a bomb no more than the
archive's own limits allow. Peers get the sort of archive that their own way of unpacking takes.
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from decaseg.storage.archive import Hostile, survey, unpack
from decaseg.storage.stream import Damaged
from tests.attacks.campaign import Attack, Bad
from tests.mutants.documents import tar_mutant
from tests.storage import tars

LARGEST_BYTES = 64 << 20  # what a test's disk is willing to lose
TARGET, CANARY = "target", "canary"
ABSOLUTE = Path("/tmp/evil")  # where the absolute names of `tars.HOSTILE` lead


def quiet(*_: int) -> None:
    pass


def judged(around: Path) -> None:
    """Bad where something lies outside of the target, or what is inside is not plain files and folders."""
    outside = {path.name for path in around.iterdir()} - {TARGET, CANARY, "archive.tar", "archive.tar.gz"}
    if outside or (around / CANARY).read_bytes() != b"canary" or ABSOLUTE.exists():
        raise Bad("wrote outside", f"{sorted(outside) or 'over a file beside it, or at an absolute name'}")
    size = 0
    for folder, folders, files in os.walk(around / TARGET):
        for name in (*folders, *files):
            state = Path(folder, name).lstat()
            if not (stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode)):
                raise Bad("no plain file", f"{name!r} is {stat.filemode(state.st_mode)}")
            size += state.st_size if stat.S_ISREG(state.st_mode) else 0
    if size > LARGEST_BYTES:
        raise Bad("bomb", f"{size:,} bytes were unpacked")


def by_decaseg(archive: Path, target: Path) -> None:
    survey(archive, quiet)
    unpack(archive, target, quiet)


def by_shutil(archive: Path, target: Path) -> None:
    shutil.unpack_archive(archive, target)


def by_filter(archive: Path, target: Path) -> None:
    with tarfile.open(archive) as tar:
        tar.extractall(target, filter="data")


def by_monai(archive: Path, target: Path) -> None:
    from monai.apps.utils import extractall

    extractall(archive, target, has_base=False)


PEERS: dict[str, Callable[[Path, Path], None]] = {
    "shutil.unpack_archive": by_shutil,
    "tarfile, filter='data'": by_filter,
    "MONAI extractall": by_monai,
}
KINDS = [*tars.HOSTILE, *tars.DAMAGED]


class Row:
    """First every hostile and damaged archive there is, then mutants of ordinary ones."""

    refusals = (Hostile, Damaged)

    def __init__(self, folder: Path, peers: bool) -> None:
        self.folder, self.peers = folder, peers

    def __call__(self, index: int, rng: np.random.Generator) -> Iterator[Attack]:
        if index < len(KINDS):
            data = (tars.HOSTILE | tars.DAMAGED)[KINDS[index]][0]()
            kind = KINDS[index]
        else:
            kind, data = tar_mutant({"d/a.txt": b"fine", "d/b.nii": bytes(3000)}, rng)
        packed = data[:2] == b"\x1f\x8b"
        yield Attack("decaseg", lambda: self.attacked(by_decaseg, data, packed, index < len(KINDS), kind), len(data))
        if not self.peers or len(data) > (1 << 20):
            return  # a peer would unpack 40 GiB
        for name, way in PEERS.items():
            run = lambda way=way: self.attacked(way, data, packed, index < len(KINDS), kind)  # noqa: E731
            yield Attack(name, run, len(data), peer=True)

    def attacked(self, way: Callable[[Path, Path], None], data: bytes, packed: bool, hostile: bool, kind: str) -> str:
        around = self.folder / "around"
        shutil.rmtree(around, ignore_errors=True)
        around.mkdir()
        (around / CANARY).write_bytes(b"canary")
        archive = around / ("archive.tar.gz" if packed else "archive.tar")
        archive.write_bytes(data)
        try:
            way(archive, around / TARGET)
        finally:
            try:
                judged(around)
            finally:
                ABSOLUTE.unlink(missing_ok=True)
        if hostile and kind in tars.DAMAGED:
            raise Bad("took damage", kind)
        if hostile and way is by_decaseg:
            raise Bad("took hostile", kind)
        return "unpacked"
