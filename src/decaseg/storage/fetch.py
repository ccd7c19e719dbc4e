"""Fetches one large file over HTTP: resumes after a cut, retries a bounded number of times, verifies what came.

What was fetched lies in a folder of its own, `archive.part` beside `archive.json`, which says where it came from and
how much of it is safely on the disk. Kill it at any point: the next `fetch` into the same folder goes on from there.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from decaseg.storage.part import PIECE_BYTES, Part, Source, Sums
from decaseg.storage.web import Answer, Refused, TryAgain, opened

HEAD_BYTES = 512
GAIN_BYTES = 1 << 20  # an attempt that brought so much, or a hundredth of the file, starts the count of failures anew


@dataclass(frozen=True)
class Patience:
    """How long to wait for bytes, how often to try again, and how long to wait before that (doubled every time)."""

    timeout_s: float = 30.0
    retries: int = 5
    wait_s: float = 1.0
    longest_wait_s: float = 30.0
    slowest_bytes_per_s: float = 1024.0  # over `slow_window_s`; slower counts as stalled
    slow_window_s: float = 60.0


@dataclass(frozen=True)
class Watcher:
    """Who is told and asked: `advance(done, total)` in bytes (total 0: not known) and sentences to `say`.

    `judge_size(total, there)` is asked before bytes are written, and raises ValueError to end the download;
    `judge_head(first bytes)` says what is wrong with them, or nothing.
    """

    advance: Callable[[int, int], None]
    say: Callable[[str], None]
    judge_size: Callable[[int, int], None]
    judge_head: Callable[[bytes], str]


@dataclass(frozen=True)
class Fetched:
    """The complete file, its size and checksums, and how many of its bytes an earlier run had fetched."""

    path: Path
    size_bytes: int
    md5: str
    sha256: str | None
    there_before_bytes: int


def fetch(source: Source, folder: Path, patience: Patience, watcher: Watcher) -> Fetched:
    """Fetches `source` into `folder`, from where an earlier run stopped; the file is complete and verified.

    Refused (a ValueError) for final answers, too many failures in a row or a wrong checksum; what was fetched stays
    for the next run, except where its checksum is wrong. Nothing is asked of the server where the file is complete.
    """
    with Part(folder, source, watcher.say, watcher.advance) as part:
        before = part.done
        _complete(part, patience, watcher)
        wrong = part.sums.wrong()
        if wrong and (part.resumed or before):
            watcher.say(f"{wrong}; it was fetched in pieces, so it is fetched once more from the beginning")
            part.restart()
            before = 0
            _complete(part, patience, watcher)
            wrong = part.sums.wrong()
        if wrong:
            part.remove()
            raise Refused(f"{source.url}: {wrong}; the file there is another one, or was changed on the way")
        part.sync()
        return Fetched(part.path, part.done, part.sums.md5, part.sums.sha256, before)


def verified(path: Path, source: Source, advance: Callable[[int, int], None]) -> Fetched:
    """A file that is here already, with its checksums; Refused where they are not those of `source`."""
    sums, size = Sums(source), path.stat().st_size
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            sums.update(piece)
            advance(file.tell(), size)
    if wrong := sums.wrong():
        raise Refused(f"{path}: {wrong}; it is another file, or damaged")
    return Fetched(path, size, sums.md5, sums.sha256, 0)


def _complete(part: Part, patience: Patience, watcher: Watcher) -> None:
    """Asks until every byte is there; each failure in a row waits twice as long as the one before."""
    failures, furthest = 0, part.done
    while not part.complete:
        try:
            _attempt(part, patience, watcher)
        except TryAgain as fault:
            gained = part.done - furthest
            enough = min(GAIN_BYTES, max(1, (part.state.total or 100 * GAIN_BYTES) // 100))
            failures = 1 if gained >= enough else failures + 1
            furthest = max(furthest, part.done)
            if failures > patience.retries:
                have = f"; {part.done:,} bytes are kept, run the same command again to go on" if part.done else ""
                raise Refused(f"{part.state.url}: {fault}, {failures} times in a row{have}") from None
            backoff_s = min(patience.longest_wait_s, patience.wait_s * 2 ** (failures - 1))
            wait_s = backoff_s if fault.wait_s is None else fault.wait_s
            watcher.say(f"{fault}; attempt {failures + 1} of {patience.retries + 1} in {wait_s:.0f} s")
            time.sleep(wait_s)
        except Refused as error:
            text = str(error)
            raise Refused(text if text.startswith(part.state.url) else f"{part.state.url}: {text}") from None


def _attempt(part: Part, patience: Patience, watcher: Watcher) -> None:
    """One request; its bytes are written as they come."""
    with opened(part.state.url, part.conditions(), patience.timeout_s) as answer:
        if answer.status == 416:
            _judge_416(part, answer)
            return
        end = _go_on(part, answer, watcher) if answer.status == 206 else _begin(part, answer, watcher)
        _read(part, answer, end, patience, watcher)


def _judge_416(part: Part, answer: Answer) -> None:
    """There is nothing after what there is: that was all of it, or the server's file is another one now."""
    if not part.done:
        raise Refused("the server answered 416 to a request for the whole file; check the address")
    if _range(answer.headers)[2] == part.done and part.state.total in (None, part.done):
        part.state = replace(part.state, total=part.done)
        return
    part.restart()
    raise TryAgain("the server's file is not as long as it was said to be; from the beginning")


def _go_on(part: Part, answer: Answer, watcher: Watcher) -> int:
    """Whether an answer with a part is what was asked for; returns where it ends."""
    begin, last, total = _range(answer.headers)
    state = part.state
    same = part.done > 0 and begin == part.done and last is not None
    for known, told in (
        (state.total, total),
        (state.etag, answer.headers.get("ETag")),
        (state.last_modified, answer.headers.get("Last-Modified")),
    ):
        same = same and (known is None or told is None or known == told)
    if not same or last is None:
        part.restart()
        raise TryAgain("the server answered with another part than was asked for; from the beginning")
    part.resumed = True
    part.state = replace(state, total=total if state.total is None else state.total)
    watcher.judge_size(part.state.total or 0, part.done)
    return last + 1


def _begin(part: Part, answer: Answer, watcher: Watcher) -> int | None:
    """Judges the first bytes of a whole file, and only then gives up what there is; returns where it ends, if said."""
    headers = answer.headers
    chunked = headers.get("Transfer-Encoding", "identity").lower() != "identity"
    length = None if chunked else _number(headers.get("Content-Length"))
    head = b""
    while len(head) < HEAD_BYTES and (piece := answer.read(HEAD_BYTES - len(head))):
        head += piece
    if len(head) < min(HEAD_BYTES, 1 if length is None else length):  # headers that were cut tell no length
        raise TryAgain(f"the connection was cut after {len(head):,} bytes")
    if reason := watcher.judge_head(head):
        if part.done:  # a proxy's page, between the parts of a good file
            raise TryAgain(reason)
        raise Refused(f"{reason}; check the address and the proxy")
    if part.done:
        watcher.say("the server sends from the beginning (its file has changed, or it cannot send parts)")
        part.restart()
    part.state = replace(part.state, etag=headers.get("ETag"), last_modified=headers.get("Last-Modified"), total=length)
    watcher.judge_size(length or 0, 0)
    part.write(head)
    return length


def _read(part: Part, answer: Answer, end: int | None, patience: Patience, watcher: Watcher) -> None:
    """Writes the body; TryAgain where it ends too early or comes too slowly."""
    window_done, window_at = part.done, time.monotonic()
    while piece := answer.read(PIECE_BYTES if end is None else max(0, min(PIECE_BYTES, end - part.done))):
        part.write(piece)
        watcher.advance(part.done, part.state.total or 0)
        now = time.monotonic()
        if now - window_at > patience.slow_window_s:
            if (part.done - window_done) / (now - window_at) < patience.slowest_bytes_per_s:
                raise TryAgain(f"the server sends less than {patience.slowest_bytes_per_s:.0f} bytes a second")
            window_done, window_at = part.done, now
    if end is not None and part.done < end:
        raise TryAgain(f"the connection was cut at {part.done:,} of {part.state.total or end:,} bytes")
    if part.state.total is None:  # the end of the body is all that says where the file ends
        part.state = replace(part.state, total=part.done)
    if not part.complete:
        raise TryAgain("the server sent less than was asked for", 0.0)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,18}", text.strip()) else None


def _range(headers: Any) -> tuple[int | None, int | None, int | None]:
    """(first byte, last byte, size of the file) from Content-Range; None for what it does not say."""
    matched = re.fullmatch(
        r"\s*bytes\s+(?:([0-9]{1,18})-([0-9]{1,18})|\*)/([0-9]{1,18}|\*)\s*", headers.get("Content-Range") or ""
    )
    if matched is None:
        return None, None, None
    begin, end, total = matched.groups()
    return _number(begin), _number(end), _number(total)
