"""Archives for tests, sound and hostile, written block by block: no library would write the hostile ones."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable, Mapping

END = bytes(1024)


def member(
    name: str | bytes, data: bytes = b"", kind: bytes = tarfile.REGTYPE, size: int | None = None, link: str = ""
):
    """One member's blocks; `size` may lie, and the name may be anything of up to 100 bytes."""
    info = tarfile.TarInfo("x")
    info.type, info.linkname, info.size = kind, link, len(data)
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    raw = name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")
    block[0:100] = raw[:100].ljust(100, b"\0")
    if size is not None:
        block[124:136] = tarfile.itn(size, 12, tarfile.GNU_FORMAT)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + padded(data)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def named(name: str | bytes, data: bytes) -> bytes:
    """A member with a name of any length, as GNU tar writes it."""
    raw = name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")
    return member("././@LongLink", raw + b"\0", tarfile.GNUTYPE_LONGNAME) + member(raw[:100], data)


def pax(records: Mapping[str, str], kind: bytes = tarfile.XHDTYPE) -> bytes:
    """An extended header."""
    text = b""
    for key, value in records.items():
        record = f" {key}={value}\n".encode("utf-8", "surrogateescape")
        length = len(record) + 1
        while length != len(record) + len(str(length)):
            length = len(record) + len(str(length))
        text += str(length).encode() + record
    return member("PaxHeaders/x", text, kind)


def folder(name: str) -> bytes:
    return member(name, kind=tarfile.DIRTYPE)


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> bytes:
    return member(name, kind=kind, link=to)


def by_tarfile(files: Mapping[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """An ordinary archive, written by Python's tarfile."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def gz(data: bytes) -> bytes:
    return gzip.compress(data, 9)


def bomb(gib: int = 1) -> bytes:
    """Zeros, packed a thousand to one: gzip members one after the other."""
    begin = gzip.compress(member("d/big.nii", size=gib << 30), 9)
    return begin + gzip.compress(bytes(1 << 24), 9) * (gib << 6) + gzip.compress(END)


OK = member("d/a.txt", b"fine")
# What it is -> (the archive, what the refusal says). All hold a good member first: nothing of them may be unpacked.
HOSTILE: Mapping[str, tuple[Callable[[], bytes], str]] = {
    "parent": (lambda: OK + member("../evil", b"x"), r"'../evil', which leads out"),
    "parent inside": (lambda: OK + member("d/../../evil", b"x"), "leads out"),
    "parent at the end": (lambda: OK + folder("d/.."), "leads out"),
    "absolute": (lambda: OK + member("/tmp/evil", b"x"), "absolute name"),
    "absolute, long name": (lambda: OK + named("/" + "e" * 150, b"x"), "absolute name"),
    "parent, long name": (lambda: OK + named("d/" * 60 + "../" * 80 + "evil", b"x"), "leads out"),
    "parent, pax": (lambda: OK + pax({"path": "../evil"}) + member("good", b"x"), "leads out"),
    "Windows": (lambda: OK + member("..\\evil", b"x"), "backslash"),
    "drive": (lambda: OK + member("C:evil", b"x"), "colon"),
    "symbolic link": (lambda: OK + link("d/l", "/etc"), "'d/l', a symbolic link"),
    "symbolic link, then a file through it": (lambda: OK + link("l", "/tmp") + member("l/evil", b"x"), "symbolic link"),
    "hard link": (lambda: OK + link("d/l", "/etc/passwd", tarfile.LNKTYPE), "a hard link"),
    "character device": (lambda: OK + member("d/n", kind=tarfile.CHRTYPE), "character device"),
    "block device": (lambda: OK + member("d/n", kind=tarfile.BLKTYPE), "block device"),
    "FIFO": (lambda: OK + member("d/n", kind=tarfile.FIFOTYPE), "FIFO"),
    "sparse": (lambda: OK + member("d/s", kind=tarfile.GNUTYPE_SPARSE), "sparse"),
    "unknown type": (lambda: OK + member("d/u", kind=b"Z"), "unknown type"),
    "folder with content": (lambda: OK + member("d/f", b"x" * 512, tarfile.DIRTYPE), "content of its own"),
    "litter that is a link": (lambda: OK + link("._l", "/etc"), "symbolic link"),
    "litter that leads out": (lambda: OK + member("../._x"), "leads out"),
    "twice": (lambda: OK + member("d/a.txt", b"other"), "'d/a.txt' twice"),
    "twice by a dot": (lambda: OK + member("./d//a.txt", b"other"), "twice"),
    "case": (lambda: OK + member("d/A.TXT", b"x"), "one name where case does not count"),
    "case of a folder": (lambda: OK + member("D/b.txt", b"x"), "one name where case does not count"),
    "spelling": (lambda: OK + member("d/\u00e9", b"x") + member("d/e\u0301", b"x"), "one name where case"),
    "file below a file": (lambda: OK + member("d/a.txt/b", b"x"), "a file where a folder is"),
    "file over a folder": (lambda: OK + member("d", b"x"), "a file where a folder is"),
    "folder over a file": (lambda: OK + folder("d/a.txt"), "a file where a folder is"),
    "line break": (lambda: OK + member("d/a\nb", b"x"), "control characters"),
    "escape": (lambda: OK + member("d/\x1b[2J", b"x"), "control characters"),
    "text from right to left": (lambda: OK + member("d/\u202egz.iin", b"x"), "control characters"),
    "NUL by pax": (lambda: OK + pax({"path": "d/a\0b"}) + member("x"), "control characters"),
    "no UTF-8": (lambda: OK + member(b"d/\xff\xfe", b"x"), "not valid UTF-8"),
    "trailing dot": (lambda: OK + member("d/a.", b"x"), "ends with a dot"),
    "trailing space": (lambda: OK + member("d /a", b"x"), "space"),
    "no name": (lambda: OK + member("", b"x"), "without a name"),
    "no name, pax": (lambda: OK + pax({"path": ""}) + member("x", b"x"), "without a name"),
    "a dot": (lambda: OK + member(".", b"x"), "without a name"),
    "long part": (lambda: OK + named("d/" + "a" * 250, b"x"), "too long"),
    "long name": (lambda: OK + named("d/" + "/".join(["a" * 90] * 13), b"x"), "too long"),
    "deep": (lambda: OK + named("d/" * 40 + "x", b"x"), "40 folders|16 folders"),
    "gzip bomb": (lambda: bomb(), "a bomb"),
    "claims terabytes": (lambda: OK + member("d/big", size=1 << 42), "more than 512 GiB"),
}
DAMAGED: Mapping[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "is empty"),
    "no tar": (lambda: b"hello" * 500, "no tar archive"),
    "cut in a header": (lambda: OK + member("d/b", b"x" * 600)[:100], "cut short"),
    "cut in data": (lambda: OK + member("d/b", b"x" * 600)[:700], "cut short"),
    "cut between members": (lambda: OK, "cut short"),
    "claims more than there is": (lambda: OK + member("d/b", size=1 << 20) + END, "cut short"),
    "a damaged header": (lambda: OK + b"x" + member("d/b", b"x")[1:] + END, "damaged at byte 1,024"),
    "a negative size": (lambda: OK + member("d/b", size=-512) + END, "negative size"),
    "a long name of a gigabyte": (lambda: member("n", kind=b"L", size=1 << 30) + END, "header of 1,073,741,824"),
    "pax of a gigabyte": (lambda: member("n", kind=b"x", size=1 << 30) + END, "header of 1,073,741,824"),
    "pax without sense": (lambda: member("n", b"99 path", b"x") + END, "damaged extended header"),
    "pax with no size": (lambda: pax({"size": "-5"}) + member("x") + END, "the size '-5'"),
    "pax for all": (lambda: pax({"path": "../x"}, tarfile.XGLTYPE) + member("x") + END, "all its members"),
    "sparse, pax": (lambda: pax({"GNU.sparse.major": "1"}) + member("s") + END, "sparse"),
    "a name and no member": (lambda: member("n", b"abc\0", b"L") + END, "a name that has no member"),
    "gzip, cut": (lambda: gz(OK + END)[:-9], "truncated"),
    "gzip, a flipped bit of its checksum": (lambda: gz(OK + END)[:-8] + b"abcd" + gz(OK + END)[-4:], "damaged"),
    "gzip, endless after the end": (lambda: gz(OK + END) + gz(b"x" * (1 << 20)) * 20, "after its end mark"),
}  # fmt: skip
