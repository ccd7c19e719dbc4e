"""Keeps the model's process alive: starts it, gives it one job at a time, ends what does not end by itself."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from decaseg.serving import worker
from decaseg.serving.limits import CANCEL_S, SILENCE_S
from decaseg.serving.logs import EventLog
from decaseg.serving.metrics import Counters, resident_bytes

Message = dict[str, Any]
OnProgress = Callable[[Message], None]
PAUSES_S = (0.0, 0.5, 1.0, 2.0, 4.0)  # before the next start, after so many that failed in a row
GONE: Message = {"say": "gone"}


@dataclass
class _Process:
    """One life of the model's process and what it says."""

    process: SpawnProcess
    connection: Connection
    inbox: asyncio.Queue[Message]
    heard_s: float = field(default_factory=time.monotonic)  # when it last said anything


class Supervisor:
    """`start` waits for the model; after that `predict` may be called, one job at a time, until `stop`."""

    def __init__(self, open_model: Callable[[], worker.Loaded], log: EventLog, counters: Counters) -> None:
        self.open_model, self.log, self.counters = open_model, log, counters
        self.facts: dict[str, Any] = {}
        self.ready = asyncio.Event()
        self._life: _Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._failures, self._stopping = 0, False

    async def start(self) -> None:
        """Loads the model; ValueError with the reason where it cannot be used."""
        if (why := await self._begin()) is not None:
            await self.stop()
            raise ValueError(why)

    async def predict(self, order: Message, give_up: asyncio.Event, seconds: float, tell: OnProgress) -> Message:
        """The last message about the job: done, refused, cancelled, failed, `timeout`, or `gone` (the process died).

        `give_up` cancels it between two windows; a process that does not hear is killed after CANCEL_S.
        """
        life = self._life
        if life is None or not self.ready.is_set():
            return GONE
        if not _send(life, order):
            await self._bury(life)
            return GONE
        ended = "cancelled"
        deadline, asked = time.monotonic() + seconds, False
        while True:
            message = await _next(life.inbox, None if asked else give_up, max(0.0, deadline - time.monotonic()))
            if message is None and not asked:
                ended = "cancelled" if give_up.is_set() else "timeout"
                asked, deadline = True, time.monotonic() + CANCEL_S
                _send(life, {"do": "cancel", "job": order["job"]})
            elif message is None:
                self.log("worker_killed", reason=ended)
                await self._bury(life)
                return {"say": ended}
            elif message["say"] == "gone":
                await self._bury(life)
                return {"say": ended} if asked else GONE
            elif message.get("job") != order["job"]:
                continue
            elif message["say"] == "progress":
                tell(message)
            else:
                return {"say": ended} if message["say"] == "cancelled" else message

    async def stop(self) -> None:
        """Ends the process now."""
        self._stopping = True
        self.ready.clear()
        if self._keeper is not None:
            self._keeper.cancel()
        if self._life is not None:
            await _kill(self._life)
            self._life = None

    def resident_bytes(self) -> int:
        pid = self._life.process.pid if self._life else None
        return resident_bytes(pid) if pid else 0

    async def _begin(self) -> str | None:
        """Starts a process and waits for its model; the reason where it cannot be used."""
        self.counters.add("decaseg_worker_starts_total")
        loop, context = asyncio.get_running_loop(), multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=True)
        process = context.Process(target=worker.main, args=(theirs, self.open_model), daemon=True, name="model")
        started = time.monotonic()
        await asyncio.to_thread(process.start)
        theirs.close()
        life = self._life = _Process(process, ours, asyncio.Queue())
        threading.Thread(target=_listen, args=(life, loop), name="listen", daemon=True).start()
        self._watcher = loop.create_task(self._end_when_silent(life))
        message = await life.inbox.get()
        if message["say"] != "ready":
            await _kill(life)
            self._life = None
            return str(message.get("why", "the model's process died while it loaded the model"))
        self.facts, self._failures = message["model"], 0
        self.ready.set()
        self.log("worker_ready", seconds=round(time.monotonic() - started, 3))
        self._keeper = loop.create_task(self._restart_when_dead(life))
        return None

    async def _restart_when_dead(self, life: _Process) -> None:
        """Notices a death even while nothing is asked of the process."""
        while life.process.is_alive():
            await asyncio.sleep(0.2)
        if self._life is life:
            await self._bury(life)

    async def _end_when_silent(self, life: _Process) -> None:
        """Kills a process that is frozen; what waits for it then learns that it is gone."""
        looked = time.monotonic()
        while life.process.is_alive():
            await asyncio.sleep(0.5)
            now = time.monotonic()
            if now - looked > SILENCE_S / 2:  # the server itself was frozen
                life.heard_s = now
            looked = now
            if now - life.heard_s > SILENCE_S:
                self.log("worker_killed", reason="silent")
                life.process.kill()
                return

    async def _bury(self, life: _Process) -> None:
        """Ends `life` if need be and starts the next one."""
        if self._life is not life or self._stopping:
            return
        self.ready.clear()
        self._life = None
        await _kill(life)
        self.log("worker_died", exit_code=life.process.exitcode)
        asyncio.get_running_loop().create_task(self._try_again())

    async def _try_again(self) -> None:
        while not self._stopping:
            await asyncio.sleep(PAUSES_S[min(self._failures, len(PAUSES_S) - 1)])
            if self._stopping or (await self._begin()) is None:
                return
            self._failures += 1
            self.log("worker_unusable", failures=self._failures)


def _listen(life: _Process, loop: asyncio.AbstractEventLoop) -> None:
    """A thread: passes on what the process says, and at last that it is gone."""
    message: Message = {}
    while message is not GONE:
        try:
            message = json.loads(life.connection.recv_bytes(1 << 20))
        except (EOFError, OSError, ValueError):
            message = GONE
        life.heard_s = time.monotonic()
        if message["say"] == "alive":
            continue
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(life.inbox.put_nowait, message)


def _send(life: _Process, message: Message) -> bool:
    try:
        life.connection.send_bytes(json.dumps(message).encode())
    except OSError:
        return False
    return True


async def _next(inbox: asyncio.Queue[Message], give_up: asyncio.Event | None, seconds: float) -> Message | None:
    """The next message; None where `give_up` is set first or the time is over."""
    waits = [asyncio.ensure_future(inbox.get())]
    if give_up is not None:
        waits.append(asyncio.ensure_future(give_up.wait()))  # type: ignore[arg-type]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return waits[0].result() if waits[0].done() else None
    finally:
        for wait in waits:
            wait.cancel()


async def _kill(life: _Process) -> None:
    life.process.kill()
    await asyncio.to_thread(life.process.join, 5)
    with suppress(OSError):
        life.connection.close()
