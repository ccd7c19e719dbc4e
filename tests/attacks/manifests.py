"""`check --manifest` after one file of a data set changed: every change is noticed and the file is named.

Changes: mutants of images and labels, damage to any file, sound images in another's place, files taken away, added,
exchanged, emptied or with an old date put back. Where nothing changed it must say so.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from decaseg.storage.manifest import Difference, compare, read_manifest, sums_of
from decaseg.workflows import check
from tests.attacks.caches import damage
from tests.attacks.campaign import Attack, Bad
from tests.mutants import nifti as mutants
from tests.mutants.geometry import inflated
from tests.synthetic import write_dataset

WHOLE_COMMAND_EVERY = 10  # the others compare sums as the command does, without reading every image again


class Row:
    """One change."""

    refusals = (ValueError,)

    def __init__(self, folder: Path, peers: bool) -> None:
        self.root = write_dataset(folder / "data", cases=3, shape=(7, 8, 6))
        self.manifest = folder / "sums.txt"
        assert self._command() == (0, "")
        self.files = sorted(path for path in self.root.rglob("*") if path.is_file())
        self.good = {path: path.read_bytes() for path in self.files}
        self.then = read_manifest(self.manifest)

    def __call__(self, index: int, rng: np.random.Generator) -> Iterator[Attack]:
        yield Attack("decaseg", lambda: self.attacked(rng, index % WHOLE_COMMAND_EVERY == 0))

    def attacked(self, rng: np.random.Generator, whole: bool) -> str:
        """Changes, asks, and puts everything back."""
        changed = self._change(rng)
        try:
            return self._asked(changed, whole)
        finally:
            for path, data in self.good.items():
                if not path.exists() or path.read_bytes() != data:
                    path.write_bytes(data)
            for name in changed:
                if (path := self.root / name) not in self.good:
                    path.unlink()

    def _change(self, rng: np.random.Generator) -> set[str]:
        """Names of what is now another file than it was."""
        path = self.files[int(rng.integers(0, len(self.files)))]
        data, kind = self.good[path], int(rng.integers(0, 8))
        if kind == 0:
            path.write_bytes(damage(data, rng))
        elif kind == 1:
            path.unlink()
        elif kind == 2:
            path = path.with_name(f"new-{int(rng.integers(0, 99))}{path.suffix}")
            path.write_bytes(data)
        elif kind == 3:
            path.write_bytes(b"" if rng.random() < 0.5 else data + b"\0")
        elif kind == 4:
            other = self.files[int(rng.integers(0, len(self.files)))]
            path.write_bytes(self.good[other])
            other.write_bytes(data)
        elif kind == 5:
            before = path.stat()
            path.write_bytes(damage(data, rng))
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        elif path.suffix == ".gz":
            path.write_bytes(mutants.mutant(inflated(data) or b"", rng)[1])
        else:
            path.write_bytes(data.replace(b" ", b"  ", 1))
        there = {*self.good, path}
        names = {p for p in there if not p.exists() or self.good.get(p) != p.read_bytes()}
        return {p.relative_to(self.root).as_posix() for p in names}

    def _asked(self, changed: set[str], whole: bool) -> str:
        if whole:
            code, told = self._command()
            named = {name for name in changed if name.rpartition("/")[2] in told}
            if named != changed or (changed and code != 1):
                raise Bad("not noticed", f"{sorted(changed - named)}, exit code {code}")
        else:
            now, unreadable = sums_of(self.root, self.manifest, 1)
            found: Difference = compare(self.then, now, unreadable)
            if set(found.changed + found.missing + found.new + found.unreadable) != changed:
                raise Bad("not noticed", f"{found} for {sorted(changed)}")
        return "noticed" if changed else "the same bytes, and said so"

    def _command(self) -> tuple[int, str]:
        """`decaseg check DATA --manifest FILE --all`: exit code, and what the manifest objected to."""
        out, wishes = io.StringIO(), check.Wishes(everything=True, manifest=self.manifest)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            code = check.run(self.root, threads=1, wishes=wishes)
        lines = out.getvalue().splitlines()
        told = ("is not what it was", "stands in", "does not stand in", "cannot be read")
        return code, "\n".join(line for line in lines if any(words in line for words in told))
