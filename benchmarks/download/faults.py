"""`decaseg download` under kills, bad servers and hostile archives, beside MONAI's download and extraction.

    python benchmarks/download/faults.py kills --kills 200 --seed 0
    python benchmarks/download/faults.py servers
    python benchmarks/download/faults.py archives

Real processes, a real server on loopback, real files. Exit code 1 where decaseg loses anything.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import multiprocessing
import os
import platform
import random
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

from tests.storage import web_server as web  # noqa: E402
from tests.storage.tars import DAMAGED, END, HOSTILE, OK, gz  # noqa: E402
from tests.synthetic import write_dataset  # noqa: E402

from decaseg.storage.provenance import processor_name  # noqa: E402

NAME = "Task04_Hippocampus"
SECONDS = 1.2  # what the server takes for the whole archive
Fetch = Callable[[str, str, str, str], None]  # (address, root, MD5, name of the archive)


def heading() -> str:
    """Machine, command and commit."""
    done = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True)
    words = " ".join(["python", *(Path(word).name if os.sep in word else word for word in sys.argv)])
    machine = f"{processor_name()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return f"{machine}, {done.stdout.strip()}: {words}"


def packed(folder: Path, cases: int) -> tuple[bytes, dict[str, str]]:
    """The archive of a data set, and every file's SHA-256."""
    root = write_dataset(folder / "made", cases=cases, shape=(40, 40, 30))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(root, NAME)
    return buffer.getvalue(), digests(root)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def by_decaseg(url: str, root: str, md5: str, _name: str) -> None:
    """The command line in a process of its own, in place of this one."""
    words = ["download", "4", "--root", root, "--url", url, "--md5", md5, "--timeout", "1", "--retries", "3"]
    quiet()
    os.execv(sys.executable, [sys.executable, "-m", "decaseg", *words])


def by_monai(url: str, root: str, md5: str, name: str) -> None:
    """What MONAI's DecathlonDataset does with download=True."""
    from monai.apps.utils import download_and_extract

    quiet()
    download_and_extract(url, Path(root) / name, root, hash_val=md5, hash_type="md5", progress=False)


def quiet() -> None:
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.dup2(sink, 2)


CONTESTANTS: dict[str, Fetch] = {"decaseg": by_decaseg, "MONAI": by_monai}


def started(work: Callable[..., None], *words: str) -> multiprocessing.Process:
    """`work` in a child that is a copy of this process, with what it has imported."""
    process = multiprocessing.get_context("fork").Process(target=work, args=words)
    process.start()
    return process


def ended(process: multiprocessing.Process, limit_s: float) -> int | None:
    """The exit code; None where it had to be killed after `limit_s`."""
    process.join(limit_s)
    if process.exitcode is None:
        process.kill()
        process.join()
        return None
    return process.exitcode


def state(folder: Path, whole: dict[str, str]) -> str:
    if not folder.exists():
        return "absent"
    return "whole" if digests(folder) == whole else "half"


def kills(rounds: int, seed: int, folder: Path) -> int:
    """One kill and one rerun a round; the MONAI rounds are a quarter as many."""
    body, whole = packed(folder, cases=150)
    md5, lost = hashlib.md5(body).hexdigest(), 0
    for name, fetch in CONTESTANTS.items():
        draw, after, finally_ = random.Random(seed), Counter(), Counter()
        count = rounds if name == "decaseg" else max(1, rounds // 4)
        with web.serving(body, web.whole(rate=len(body) / SECONDS)) as site:
            url, alone = f"http://127.0.0.1:{site.port}/{NAME}.tar", time.monotonic()
            ended(started(fetch, url, str(folder / f"{name}-alone"), md5, f"{NAME}.tar"), 120)
            span_s = time.monotonic() - alone
            assert state(folder / f"{name}-alone" / NAME, whole) == "whole"
            for number in range(count):
                root = folder / f"{name}-{number}"
                process = started(fetch, url, str(root), md5, f"{NAME}.tar")
                time.sleep(draw.uniform(0, span_s))
                process.kill()
                process.join()
                after[state(root / NAME, whole)] += 1
                asked = len(site.asked)
                code = ended(started(fetch, url, str(root), md5, f"{NAME}.tar"), 120)
                found = state(root / NAME, whole)
                resumed = any("Range" in request for request in site.asked[asked:])
                finally_[f"{found}, exit {code}"] += 1
                finally_["of these, went on with what there was"] += resumed or len(site.asked) == asked
                lost += name == "decaseg" and (found != "whole" or code != 0)
                subprocess.run(["rm", "-r", str(root)], check=False)
        print(
            f"{name}: n = {count}, {span_s:.1f} s alone; after the kill {dict(after)}; after the rerun {dict(finally_)}"
        )
    return lost


SERVERS: dict[str, Callable[[bytes], Sequence[web.Act]]] = {
    "good": lambda body: [web.whole()],
    "cuts once in the middle": lambda body: [web.whole(cut=len(body) // 2), web.whole()],
    "cuts every connection after a tenth": lambda body: [web.whole(cut=len(body) // 10)],
    "cuts once, ignores Range": lambda body: [web.whole(cut=len(body) // 2, ranges=False), web.whole(ranges=False)],
    "says it is longer, then good": lambda body: [web.says_length(len(body) + 5000), web.whole()],
    "always says it is longer": lambda body: [web.says_length(len(body) + 5000)],
    "always says it is shorter": lambda body: [web.says_length(len(body) // 2)],
    "says no length": lambda body: [web.says_length(None)],
    "chunked": lambda body: [web.chunked],
    "changes the file between two parts": lambda body: [
        web.whole(cut=len(body) // 2, other=body[:4096] + body[4096:][::-1]), web.whole()
    ],
    "answers with another part than asked for, then good": lambda body: [web.wrong_range, web.wrong_range, web.whole()],
    "503 twice, then good": lambda body: [web.status(503), web.status(503), web.whole()],
    "429 with Retry-After: 1, then good": lambda body: [web.status(429, Retry_After=1), web.whole()],
    "404": lambda body: [web.status(404)],
    "a web page in its place": lambda body: [web.garbage(b"<html>log in</html>" * 999)],
    "a web page between two parts": lambda body: [
        web.whole(cut=len(body) // 2), web.garbage(b"<html>log in</html>" * 999), web.whole()
    ],
    "no HTTP at all": lambda body: [web.no_http],
    "redirects to file:///etc/passwd": lambda body: [web.redirect("file:///etc/passwd")],
    "redirects in a loop": lambda body: [web.redirect(f"/{NAME}.tar")],
    "stalls for 60 s, then good": lambda body: [web.stall(seconds=60), web.whole()],
    "stalls in the middle for 60 s, then good": lambda body: [web.stall(after=9999, seconds=60), web.whole()],
    "headers drip for 20 s, then good": lambda body: [web.drip_headers, web.whole()],
}  # fmt: skip
NEVER = ("404", "a web page in its place", "no HTTP at all", "redirects to file:///etc/passwd", "redirects in a loop",
         "always says it is longer", "always says it is shorter")  # fmt: skip


def servers(folder: Path) -> int:
    """Each server once for each contestant; given up after 30 s."""
    body, whole = packed(folder, cases=6)
    md5, lost = hashlib.md5(body).hexdigest(), 0
    print("| server | " + " | ".join(CONTESTANTS) + " |\n| --- | --- | --- |")
    for number, (kind, acts) in enumerate(SERVERS.items()):
        told = []
        for name, fetch in CONTESTANTS.items():
            root = folder / f"{name}-server-{number}"
            with web.serving(body, *acts(body)) as site:
                began = time.monotonic()
                url = f"http://127.0.0.1:{site.port}/{NAME}.tar"
                code = ended(started(fetch, url, str(root), md5, f"{NAME}.tar"), 30)
                seconds = time.monotonic() - began
            found = state(root / NAME, whole)
            words = {0: "exit 0", None: "hangs"}.get(code, "refused")
            told.append(f"{found}, {words}, {seconds:.1f} s")
            expected = "absent" if kind in NEVER else "whole"
            lost += name == "decaseg" and (found != expected or code != (2 if kind in NEVER else 0))
        print(f"| {kind} | " + " | ".join(told) + " |", flush=True)
    return lost


def unpacked_by_decaseg(path: str, target: str) -> None:
    from decaseg.storage.archive import survey, unpack

    quiet()
    survey(Path(path), lambda *_: None)
    unpack(Path(path), Path(target), lambda *_: None)


def unpacked_by_monai(path: str, target: str) -> None:
    from monai.apps.utils import extractall

    quiet()
    extractall(path, target, has_base=False)


def unpacked_by_tarfile(path: str, target: str) -> None:
    quiet()
    with tarfile.open(path) as tar:
        tar.extractall(target, filter="data")


def limited(work: Callable[[str, str], None]) -> Callable[[str, str], None]:
    """No file over 2 GiB."""

    def run(path: str, target: str) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 30, 2 << 30))
        work(path, target)

    return run


def archives(folder: Path) -> int:
    """Every hostile and damaged archive, plain and packed, for each unpacker; given up after 30 s."""
    unpackers = {
        "decaseg": unpacked_by_decaseg,
        "MONAI": unpacked_by_monai,
        "tarfile, filter data": unpacked_by_tarfile,
    }
    lost, counts = 0, {name: Counter() for name in unpackers}
    print("| archive | " + " | ".join(unpackers) + " |\n| --- | --- | --- | --- |")
    made = {k: m() if m().startswith(b"\x1f\x8b") else m() + END for k, (m, _) in HOSTILE.items()}
    made |= {k: m() for k, (m, _) in DAMAGED.items()}
    for number, (kind, data) in enumerate(made.items()):
        told = []
        for name, work in unpackers.items():
            outcomes = set()
            for form, suffix in ((data, ".tar"), (gz(data), ".tar.gz")):
                if suffix == ".tar.gz" and data.startswith(b"\x1f\x8b"):
                    continue
                box = folder / f"{number}-{name}-{len(outcomes)}{suffix}"
                box.mkdir()
                path = box / f"a{suffix}"
                path.write_bytes(form)
                code = ended(started(limited(work), str(path), str(box / "in")), 30)
                outside = sorted(p.name for p in box.iterdir() if p.name not in (path.name, "in"))
                files = [p for p in (box / "in").rglob("*") if p.is_file()] if (box / "in").exists() else []
                size = sum(p.stat().st_size for p in files)
                word = {0: "unpacked", None: "hangs"}.get(code, "refused")
                if outside:
                    word += " and wrote outside"
                if word != "unpacked" and size > 1 << 20:
                    word += f" after {size / 2**20:,.0f} MiB"
                elif word == "unpacked" and size > 1 << 20:
                    word += f" {size / 2**20:,.0f} MiB"
                elif word == "refused" and files:
                    word += ", a part on the disk"
                outcomes.add(word)
                subprocess.run(["rm", "-rf", str(box)], check=False)
            told.append(" / ".join(sorted(outcomes)))
            counts[name]["refused, nothing written" if outcomes == {"refused"} else "not so"] += 1
            lost += name == "decaseg" and outcomes != {"refused"}
        print(f"| {kind} | " + " | ".join(told) + " |", flush=True)
    print({name: dict(count) for name, count in counts.items()}, "control:", control(folder))
    return lost


def control(folder: Path) -> str:
    """A sound archive goes through."""
    path = folder / "control.tar"
    path.write_bytes(OK + END)
    return "unpacked" if ended(started(unpacked_by_decaseg, str(path), str(folder / "control")), 30) == 0 else "refused"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["kills", "servers", "archives"])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args()
    import monai.apps.utils  # before the children are made, which then need not import it

    print(f"{heading()}; MONAI {monai.__version__}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lost = {"kills": lambda: kills(told.kills, told.seed, folder), "servers": lambda: servers(folder),
                "archives": lambda: archives(folder)}[told.what]()  # fmt: skip
    print(f"decaseg: {lost} not as they must be")
    return 1 if lost else 0


if __name__ == "__main__":
    raise SystemExit(main())
