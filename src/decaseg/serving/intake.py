"""Uploads: read at a pace, measured while they come, checked as NIfTI before a job is made of them.

A body is one image as it is, or a multipart form with a file or several. Names that clients give to files are not
looked at; on disk every image has a name of ours.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from decaseg.serving.limits import (
    FIELD_BYTES,
    FIELDS,
    IDLE_S,
    MIB,
    PACE_AFTER_S,
    PACE_BYTES_S,
    PART_HEADER_BYTES,
    UPLOADS,
    Limits,
)
from decaseg.serving.metrics import Counters
from decaseg.serving.refusal import Refusal, too_large
from decaseg.serving.spool import Spool, create_private
from decaseg.storage import nifti

CHECKERS = 4  # uploads inflated at a time, each in a few megabytes
BUFFER_BYTES = 1 << 20  # of an upload held before it is written
TOO_SLOW = Refusal(408, "too_slow", "the upload came too slowly; send it again over a faster connection")


@dataclass(frozen=True)
class Upload:
    """Checked images in the order of the model's channels, in a folder that the caller owns now; and form fields."""

    images: Sequence[Path]
    folder: Path
    fields: dict[str, str]


@dataclass
class _Part:
    """A part of a form while it is read: a file has a `path`, a field a `value`."""

    name: str
    path: Path | None = None
    value: bytearray = field(default_factory=bytearray)


class Intake:
    """Reads the bodies of requests into `spool`, within `limits`."""

    def __init__(self, spool: Spool, limits: Limits, counters: Counters) -> None:
        self.spool, self.limits, self.counters = spool, limits, counters
        self.channels: Sequence[str] = ()
        self.file_channels = 0
        self.open = 0
        self._threads = ThreadPoolExecutor(CHECKERS, thread_name_prefix="intake")

    async def receive(self, request: Request, optional: str | None = None) -> Upload:
        """The checked upload; Refusal (4xx) for what cannot be used, whose files are gone then.

        With `optional` there need be no image, and only a part of that name may be one.
        """
        if self.open >= UPLOADS:
            raise Refusal(429, "too_many_uploads", "too many uploads at a time; send it again later", 5)
        self.open += 1
        folder = self.spool.new_folder()
        try:
            form = _Form(self, folder, request.headers.get("content-type", ""))
            async for chunk in paced(request, self.limits.upload_bytes):
                self.counters.add("decaseg_uploaded_bytes_total", len(chunk))
                await form.feed(chunk)
            files, fields = await form.end()
            if not files and optional is None:
                raise Refusal(400, "no_image", "send a NIfTI image (.nii or .nii.gz) as the body, or in a form's file")
            if optional is not None and any(part.name != optional for part in files):
                said = (
                    f"only an image named {optional!r} can be sent here: the model takes no labels, scribbles or points"
                )
                raise Refusal(422, "bad_parameter", said)
            paths = self._in_order(files)
            if files:
                await self.on_thread(self._check, paths)
            return Upload(paths, folder, fields)
        except BaseException:
            self.spool.remove(folder)
            raise
        finally:
            self.open -= 1

    async def on_thread(self, work: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _in_order(self, files: Sequence[_Part]) -> list[Path]:
        """By the channels that the parts are named after, else as sent."""
        names = [part.name for part in files]
        if len(files) > 1 and sorted(names) == sorted(self.channels):
            files = sorted(files, key=lambda part: list(self.channels).index(part.name))
        return [part.path for part in files if part.path is not None]

    def _check(self, paths: Sequence[Path]) -> None:
        """Refusal for files that are no sound NIfTI, or too large once inflated."""
        channels = 0
        for number, path in enumerate(paths, 1):
            name = "the image" if len(paths) == 1 else f"image {number}"
            try:
                grid, found, size = nifti.read_facts(path)
                if max(grid.shape) > self.limits.side:
                    raise too_large(f"{name} has {max(grid.shape)} voxels along an axis; at most {self.limits.side}")
                total = grid.shape[0] * grid.shape[1] * grid.shape[2] * found * size
                if total > self.limits.image_bytes:
                    raise too_large(f"{name} takes {total / MIB:,.0f} MiB; at most {self.limits.image_mib:g}")
                nifti.verify(path)
            except nifti.NiftiError as error:
                raise Refusal(422, "not_nifti", f"{name} {error.fault}; {error.fix}") from None
            channels += found
        if self.channels and channels not in (self.file_channels, len(self.channels)):
            wanted = ", ".join(self.channels)
            raise Refusal(422, "wrong_channels", f"{channels} channels were sent, the model was trained on images of "
                          f"{self.file_channels} and uses {wanted}; send those, in that order")  # fmt: skip


async def paced(request: Request, most_bytes: int) -> AsyncIterator[bytes]:
    """The body's pieces. Refusal for one that is too long, or whose sender is too slow."""
    declared = request.headers.get("content-length")
    too_long = too_large(f"the upload is larger than {most_bytes / MIB:,.0f} MiB")
    if declared is not None and int(declared) > most_bytes:  # h11 has made sure that it is a number
        raise too_long
    started, received = time.monotonic(), 0
    stream = aiter(request.stream())
    while True:
        try:
            async with asyncio.timeout(IDLE_S):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise TOO_SLOW from None
        received += len(chunk)
        seconds = time.monotonic() - started
        if received > most_bytes:
            raise too_long
        if seconds > PACE_AFTER_S and received < PACE_BYTES_S * seconds:
            raise TOO_SLOW
        if chunk:
            yield chunk


class _Form:
    """Takes a body apart as it comes: a form's parts, or the one file that it is."""

    def __init__(self, intake: Intake, folder: Path, content_type: str) -> None:
        self.intake, self.folder = intake, folder
        self.parts: list[_Part] = []
        self.complete = True
        self._buffer = bytearray()  # what is not on disk yet
        self._target: _Part | None = None  # which part it belongs to
        self._headers: dict[bytes, bytes] = {}
        self._name, self._value = b"", b""
        self._events: list[tuple[str, Any]] = []
        self._parser: MultipartParser | None = None
        kind, options = parse_options_header(content_type.encode("latin-1"))
        if kind == b"multipart/form-data":
            boundary = options.get(b"boundary", b"")
            if not 1 <= len(boundary) <= 70:
                raise Refusal(400, "bad_form", "the form has no proper boundary")
            self.complete = False
            self._parser = MultipartParser(boundary, self._callbacks())
        elif kind.startswith(b"multipart/") or kind == b"application/x-www-form-urlencoded":
            raise Refusal(415, "bad_type", "send the image as the body, or in a form of type multipart/form-data")

    async def feed(self, chunk: bytes) -> None:
        if self._parser is None:
            if not self.parts:
                self._begin_file("")
            await self._write(self.parts[0], chunk)
            return
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise Refusal(400, "bad_form", "the form cannot be read as multipart/form-data") from None
        events, self._events = self._events, []
        for kind, value in events:
            if kind == "begin":
                self._begin(value)
            elif self.parts[-1].path is not None:
                await self._write(self.parts[-1], value)
            else:
                self.parts[-1].value += value
                if len(self.parts[-1].value) > FIELD_BYTES:
                    raise too_large("a field of the form is too long")

    async def end(self) -> tuple[list[_Part], dict[str, str]]:
        """Files and fields; Refusal for a form that was cut short."""
        if not self.complete:
            raise Refusal(400, "bad_form", "the form was cut short")
        await self._flush()
        files = [part for part in self.parts if part.path is not None]
        fields = {part.name: part.value.decode("utf-8", "replace") for part in self.parts if part.path is None}
        return files, fields

    def _callbacks(self) -> Any:
        def begin() -> None:
            self._headers, self._name, self._value = {}, b"", b""

        def name(data: bytes, start: int, stop: int) -> None:
            self._name += data[start:stop]
            self._limit_headers()

        def value(data: bytes, start: int, stop: int) -> None:
            self._value += data[start:stop]
            self._limit_headers()

        def header_end() -> None:
            self._headers[self._name.lower()] = self._value
            self._name = self._value = b""

        def finish() -> None:
            self.complete = True

        return {
            "on_part_begin": begin,
            "on_header_field": name,
            "on_header_value": value,
            "on_header_end": header_end,
            "on_headers_finished": lambda: self._events.append(("begin", dict(self._headers))),
            "on_part_data": lambda data, start, stop: self._events.append(("data", data[start:stop])),
            "on_end": finish,
        }

    def _limit_headers(self) -> None:
        held = len(self._name) + len(self._value) + sum(len(k) + len(v) for k, v in self._headers.items())
        if held > PART_HEADER_BYTES:
            raise too_large("the head of a part of the form is too long")

    def _begin(self, headers: dict[bytes, bytes]) -> None:
        """A new part. That it has a file name says that it is a file; the name itself is dropped here."""
        kind, options = parse_options_header(headers.get(b"content-disposition", b""))
        if kind != b"form-data":
            raise Refusal(400, "bad_form", "a part of the form has no Content-Disposition: form-data")
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if len(self.parts) >= FIELDS:
            raise too_large(f"the form has more than {FIELDS} parts")
        if b"filename" in options:
            self._begin_file(name)
        else:
            self.parts.append(_Part(name))

    def _begin_file(self, name: str) -> None:
        number = sum(part.path is not None for part in self.parts)
        if number >= self.intake.limits.files:
            raise too_large(f"more than {self.intake.limits.files} files were sent")
        part = _Part(name, self.folder / f"image-{number}.nii.gz")  # whether it is gzip, its bytes tell
        assert part.path is not None
        os.close(create_private(part.path))
        self.parts.append(part)

    async def _write(self, part: _Part, data: bytes) -> None:
        if self._target is not part:
            await self._flush()
            self._target = part
        self.intake.spool.take(self.folder, len(data))
        self._buffer += data
        if len(self._buffer) >= BUFFER_BYTES:
            await self._flush()

    async def _flush(self) -> None:
        if self._target is not None and self._buffer:
            data, self._buffer = self._buffer, bytearray()
            await self.intake.on_thread(_append, self._target.path, data)


def _append(path: Path, data: bytearray) -> None:
    try:
        with path.open("ab") as file:
            file.write(data)
    except OSError:
        with suppress(OSError):
            path.unlink()
        raise Refusal(507, "disk_full", "the server cannot store the image (its disk is full)") from None
