"""A server between good clients and bad ones: valid images, damaged ones, lying requests, wrong tokens, hostile names.

Every valid image must come back with the very label map of `decaseg predict`, everything else with a 4xx of its own;
never a 5xx, nothing written outside of the spool, and no answer at all to a wrong token.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import numpy as np

from decaseg.cli import call
from decaseg.storage import nifti
from tests.attacks.campaign import Bad
from tests.serving.mutants import MUTATIONS, form
from tests.serving.running import RAW, Running

TOKEN = "0123456789abcdef" * 4
NAMES = ("../../../x.nii.gz", "/etc/cron.d/x", "..", "a\\b.nii.gz", "\u202egz.iin", "con", "%00", "-rf", "x;y", "$(x)")
HEAD = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
LYING = (  # requests that cannot be, and what they must get
    (HEAD + "Content-Length: 4000000000\r\n\r\n", {413}),
    (HEAD + "Content-Length: -5\r\n\r\n", {400}),
    (HEAD + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", {400}),
    (HEAD + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
    (HEAD + "Transfer-Encoding: chunked\r\n\r\nZZ\r\n", {400}),
    (HEAD + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", {400, 415, 422}),
    (HEAD + "Content-Length: 0\r\n\r\n", {400}),
    (HEAD + "Origin: http://evil.example\r\nContent-Length: 0\r\n\r\n", {403}),
    (HEAD.replace("localhost", "evil.example") + "Content-Length: 0\r\n\r\n", {421}),
    (HEAD + "X: " + "a" * 70_000 + "\r\n\r\n", {431}),
    (HEAD.replace("/predict", "/../../etc/passwd") + "Content-Length: 0\r\n\r\n", {404, 405}),
    ("nonsense\r\n\r\n", {400}),
)  # fmt: skip


def write_token(folder: Path) -> Path:
    """A token file as the server takes it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "token"
    path.touch(0o600)
    path.write_text(TOKEN)
    return path


def truths(model: Path, images: Sequence[Path], work: Path, threads: int = 1) -> list[tuple[bytes, bytes]]:
    """Each image's bytes, and those of the label map that the command line writes."""
    words = ["predict", str(model), *map(str, images), "--out", str(work / "predicted"), "--threads", str(threads)]
    assert call(words) == 0
    return [(image.read_bytes(), (work / "predicted" / image.name).read_bytes()) for image in images]


def wrong_token(rng: np.random.Generator) -> str | None:
    """What is sent as Authorization; None: nothing."""
    cut = int(rng.integers(0, len(TOKEN)))
    other = TOKEN[:cut] + ("x" if TOKEN[cut] != "x" else "y") + TOKEN[cut + 1 :]
    ways = (None, "", "Bearer", f"Bearer {TOKEN[:cut]}", f"Bearer {other}", f"Bearer {TOKEN}0", f"Basic {TOKEN}", TOKEN,
            f"Bearer {TOKEN.upper()}", f"Bearer {'a' * 3000}", f"Bearer {TOKEN} {TOKEN}", "Bearer \xe9")  # fmt: skip
    return ways[int(rng.integers(0, len(ways)))]


class Crowd:
    """Requests of all sorts to one server; `sorts` counts the answers, `bad` holds what was not as it must be."""

    def __init__(self, server: Running, pairs: Sequence[tuple[bytes, bytes]], work: Path, seed: int) -> None:
        self.server, self.pairs, self.work, self.seed = server, pairs, work, seed
        self.sorts: dict[str, Counter[int]] = defaultdict(Counter)
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.bad: list[tuple[int, str, str]] = []
        self.local, self.lock = threading.local(), threading.Lock()

    def ask_all(self, first: int, count: int, clients: int = 8) -> None:
        """Requests `first` to `count`, so many at a time."""
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(self.one, range(first, count)))

    def one(self, index: int) -> None:
        kinds: tuple[Callable[[int, np.random.Generator], int], ...]
        kinds = (self.valid, self.damaged, self.valid, self.token, self.valid, self.name, self.valid, self.lie)
        kind = kinds[index % len(kinds)]
        started = time.monotonic()
        try:
            status = kind(index, np.random.default_rng([self.seed, index]))
        except Bad as bad:
            status = int(bad.args[0])
            self.bad.append((index, kind.__name__, str(bad.args[1])))
        except Exception as error:
            status = -1
            self.bad.append((index, kind.__name__, repr(error)))
        with self.lock:
            self.sorts[kind.__name__][status] += 1
            self.seconds[kind.__name__].append(time.monotonic() - started)

    def ask(self, body: bytes, headers: dict[str, str], path: str = "/predict") -> tuple[int, bytes]:
        """One request over this thread's own connection, opened again where the server closed it."""
        for _ in range(2):
            with suppress(http.client.HTTPException, OSError):
                if not hasattr(self.local, "connection"):
                    self.local.connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=300)
                self.local.connection.request("POST", path, body, headers)
                answer = self.local.connection.getresponse()
                return answer.status, answer.read()
            self.local.connection.close()
            del self.local.connection
        raise OSError("no answer to a request, twice")

    def valid(self, index: int, rng: np.random.Generator) -> int:
        image, wanted = self.pairs[index % len(self.pairs)]
        status, data = self.ask(image, {**RAW, "Authorization": f"Bearer {TOKEN}"})
        if (status, data) != (200, wanted):
            raise Bad(status, f"answered {status}, or with other labels than the command line's")
        return status

    def damaged(self, index: int, rng: np.random.Generator) -> int:
        names = [name for name in MUTATIONS if name != "bomb" or index % 400 == 1]
        mutant = MUTATIONS[names[int(rng.integers(0, len(names)))]](self.pairs[0][0], rng)
        body, headers = mutant, {**RAW, "Authorization": f"Bearer {TOKEN}"}
        if in_form := rng.random() < 0.3:
            body, headers["Content-Type"] = form(mutant, rng)
        status, answer = self.ask(body, headers)
        path = self.work / f"mutant-{index}.nii.gz"
        path.write_bytes(mutant)
        try:
            nifti.read(path)
            sound = True
        except nifti.NiftiError:
            sound = False
        finally:
            path.unlink()
        if not (status == 200 or 400 <= status < 500) or (status == 200 and not in_form and not sound):
            raise Bad(status, f"{answer[:200]!r}, sound: {sound}")
        return status

    def token(self, index: int, rng: np.random.Generator) -> int:
        given, path = wrong_token(rng), ("/predict", "/jobs", "/infer/x")[index % 3]
        headers = RAW if given is None else {**RAW, "Authorization": given}
        status, answer = self.ask(self.pairs[0][0], headers, path)
        if status != 401:
            raise Bad(status, f"{given!r} got {status} {answer[:80]!r}")
        return status

    def name(self, index: int, rng: np.random.Generator) -> int:
        name = NAMES[index % len(NAMES)]
        head = f'--b\r\nContent-Disposition: form-data; name="../y"; filename="{name}"\r\n\r\n'
        image, wanted = self.pairs[index % len(self.pairs)]
        body = head.encode() + image + b"\r\n--b--\r\n"
        headers = {"Content-Type": "multipart/form-data; boundary=b", "Authorization": f"Bearer {TOKEN}"}
        status, data = self.ask(body, headers)
        if status != 400 and (status, data) != (200, wanted):
            raise Bad(status, f"{name!r} got {status} {data[:80]!r}")
        return status

    def lie(self, index: int, rng: np.random.Generator) -> int:
        text, wanted = LYING[int(rng.integers(0, len(LYING)))]
        with closing(self.server.connect(60)) as connection:
            with suppress(OSError):  # it may be cut off before it has said all
                connection.sendall(text.encode())
            answer = http.client.HTTPResponse(connection)
            answer.begin()
        if answer.status not in wanted:
            raise Bad(answer.status, f"{text[:120]!r} got {answer.status}")
        return answer.status


def outside(server: Running) -> set[Path]:
    """What lies beside the server's spool and in it."""
    return set(server.spool.parent.rglob("*"))
