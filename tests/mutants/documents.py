"""Damaged JSON and tar files made from good ones."""

from __future__ import annotations

import copy
import gzip
import io
import json
import random
import tarfile
from typing import Any

import numpy as np

from tests.storage import tars

Random = np.random.Generator
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 10**30, 1e308, float("nan"), float("inf"), "", " ", "\0", "a\nb", "\ud800",
    "é" * 300,
    "../../etc/passwd", "/etc/passwd", "C:\\x", "~", ".", "..", "imagesTr", "x" * 5000, [], {}, [[]], [None], {"": ""},
    {"0": 0}, ["a", 1, None], {"image": 1}, "0", "1e5", "-0", "٣", "255", "256", "%s{0}", "\u202e", "con",
)  # fmt: skip


def json_mutant(document: Any, rng: Random) -> tuple[str, bytes]:
    """What was done, and the bytes: values, keys, structure, or the text itself."""
    kind = str(rng.choice(["value", "value", "value", "key", "grown", "text", "encoding", "deep", "twice"]))
    document = copy.deepcopy(document)
    if kind == "value":
        for _ in range(int(rng.integers(1, 4))):
            parent, key = _place(document, rng)
            parent[key] = copy.deepcopy(ODD_VALUES[int(rng.integers(0, len(ODD_VALUES)))])
    elif kind == "key":
        parent, key = _place(document, rng)
        value = parent.pop(key)
        if isinstance(parent, dict) and rng.random() < 0.5:
            parent[str(ODD_VALUES[int(rng.integers(0, len(ODD_VALUES)))])] = value
    elif kind == "grown":
        parent, key = _place(document, rng)
        parent[key] = [parent[key]] * int(rng.choice([2, 1000]))
    if kind == "deep":
        depth = int(rng.choice([50, 5000, 200_000]))
        return kind, b'{"a":' * depth if rng.random() < 0.5 else b"[" * depth + b"]" * depth
    text = json.dumps(document)
    if kind == "twice":
        return kind, text.replace("{", '{"name": 1, "name": 2, ', 1).encode()
    if kind == "encoding":
        codec = str(rng.choice(["utf-16", "utf-8-sig", "latin-1", "utf-32", "cp037"]))
        return kind, text.encode(codec, "replace")
    data = bytearray(text.encode("utf-8", "surrogatepass"))
    if kind == "text":
        for _ in range(int(rng.integers(1, 6))):
            at = int(rng.integers(0, len(data)))
            change = int(rng.integers(0, 4))
            if change == 0:
                data[at] = int(rng.integers(0, 256))
            elif change == 1:
                del data[at : at + int(rng.integers(1, 20))]
            elif change == 2:
                data[at:at] = bytes(rng.choice(list(b'{}[]",:0e\\tnf'), int(rng.integers(1, 4))).astype(np.uint8))
            else:
                del data[at:]
            if not data:
                break
    return kind, bytes(data)


def _place(document: Any, rng: Random) -> tuple[Any, Any]:
    """A container somewhere in the document that is not empty, and one of its keys or places."""
    containers = [part for part in _parts(document) if isinstance(part, dict | list) and part]
    parent = containers[int(rng.integers(0, len(containers)))]
    keys = list(parent) if isinstance(parent, dict) else range(len(parent))
    return parent, keys[int(rng.integers(0, len(keys)))]


def _parts(document: Any) -> list[Any]:
    children = document.values() if isinstance(document, dict) else document if isinstance(document, list) else ()
    return [document, *(part for child in children for part in _parts(child))]


NAMES = ("../x", "/x", "a/../../x", "a\\x", "c:x", "a\0b", "a\nb", "\udcff", "e\u0301", "A", "a", "a/", ".", "", " a ",
         "a.", "x" * 300, "/".join("d" * 20), "._a", "__MACOSX/a", "T/dataset.json", "T/imagesTr", "con")  # fmt: skip


def tar_mutant(files: dict[str, bytes], rng: Random) -> tuple[str, bytes]:
    """What was done, and the archive: members of every sort among sound ones, then perhaps damaged bytes and gzip."""
    kind = str(rng.choice(["names", "kinds", "sizes", "pax", "bytes", "header", "cut", "sound"]))
    blocks = [tars.member(name, data) for name, data in files.items()]
    name = NAMES[int(rng.integers(0, len(NAMES)))]
    if kind == "names":
        blocks.append(tars.named(name or "x", b"hello") if rng.random() < 0.5 else tars.member(name[:90], b"hello"))
    elif kind == "kinds":
        sort = bytes([int(rng.choice(list(b"0123456789DKLMNSVXgxAZ\0")))])
        blocks.append(tars.member("T/odd", b"data", sort, link=str(rng.choice(["/etc/passwd", "../x", "T/a", ""]))))
    elif kind == "sizes":
        blocks.append(tars.member("T/odd", b"data", size=int(rng.choice([0, 3, 600, 2**33, 2**62]))))
    elif kind == "pax":
        key = str(rng.choice(["path", "linkpath", "size", "GNU.sparse.size", "GNU.sparse.name", "hdrcharset", "mtime"]))
        records = {key: str(rng.choice([name.replace("\udcff", "x"), "99999999999999", "-1", "nan", "4"]))}
        blocks.append(tars.pax(records, bytes(rng.choice([list(b"x"), list(b"g")]).astype(np.uint8))))
        blocks.append(tars.member("T/odd", b"data"))
    random.Random(int(rng.integers(0, 2**31))).shuffle(blocks)
    data = bytearray(b"".join(blocks) + tars.END)
    if kind in ("bytes", "header"):
        stop = len(data) if kind == "bytes" else 512
        for place in rng.integers(0, stop, int(rng.integers(1, 6))):
            data[place] = int(rng.integers(0, 256))
    elif kind == "cut":
        del data[int(rng.integers(0, len(data))) :]
    made = bytes(data)
    if rng.random() < 0.3:
        made = gzip.compress(made, 1)
        if rng.random() < 0.3:
            made = made[: int(rng.integers(0, len(made)))]
    return kind, made


def extracted_by_tarfile(data: bytes) -> dict[str, bytes] | None:
    """What Python's tarfile reads of plain files, None where it cannot: an independent witness."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            members = [member for member in archive.getmembers() if member.isreg()]
            return {member.name: (archive.extractfile(member) or io.BytesIO()).read() for member in members}
    except Exception:
        return None
