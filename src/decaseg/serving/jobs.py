"""Jobs: a queue with a limit before the one model, results kept for a while, and an orderly end."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from decaseg.serving.limits import RESTART_S, Limits
from decaseg.serving.logs import EventLog
from decaseg.serving.metrics import Counters
from decaseg.serving.refusal import Refusal, busy, stopping
from decaseg.serving.spool import Spool
from decaseg.serving.supervisor import GONE, Message, Supervisor

ATTEMPTS = 2  # a job whose process died is tried once more: it may have died of something else
WAITING, ENDED = ("queued",), ("done", "failed", "cancelled")
REFUSALS = {
    "timeout": (422, "time_limit", "the prediction took longer than this server allows"),
    "cancelled": (409, "cancelled", "the job was cancelled"),
    "gone": (500, "worker_died", "the model's process died of this image twice"),
    "failed": (500, "internal", "the prediction failed; the server's log says where"),
    "unready": (503, "not_ready", "the model's process does not start; the server's log says why"),
}


@dataclass
class Job:
    """One image on its way. `id` is a secret that lets its holder see it; logs have `number`.

    `folder` goes when the job does; an image of a session lies elsewhere and stays.
    """

    images: Sequence[Path]
    folder: Path
    number: int
    id: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    state: str = "queued"
    stage: str = ""
    windows: tuple[int, int] = (0, 0)
    created: float = field(default_factory=time.monotonic)
    begun: float | None = None
    ended: float | None = None
    volumes_ml: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    refusal: Refusal | None = None
    give_up: asyncio.Event = field(default_factory=asyncio.Event)
    finished: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def labels(self) -> Path:
        return self.folder / "labels.nii.gz"


class Jobs:
    """All jobs of the server, by id; one runs at a time."""

    def __init__(self, model: Supervisor, spool: Spool, limits: Limits, log: EventLog, counters: Counters) -> None:
        self.model, self.spool, self.limits, self.log, self.counters = model, spool, limits, log, counters
        self.jobs: dict[str, Job] = {}
        self.waiting: deque[Job] = deque()
        self.running: Job | None = None
        self.closed = False
        self._numbers = 0
        self._more = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._runner = asyncio.get_running_loop().create_task(self._run())

    def refuse_if_full(self) -> None:
        """Refusal (429, or 503 at shutdown) where no job can be taken; asked before an upload is read, too."""
        if self.closed:
            raise stopping()
        if len(self.waiting) >= self.limits.queue:
            raise busy(len(self.waiting))

    def submit(self, images: Sequence[Path], folder: Path) -> Job:
        """Puts a job at the end of the queue; it owns `folder`."""
        self.refuse_if_full()
        self._numbers += 1
        job = Job(images, folder, self._numbers)
        self.jobs[job.id] = job
        self.waiting.append(job)
        self._more.set()
        return job

    def get(self, job_id: str) -> Job:
        """Refusal (404) where there is none."""
        self.forget_old()
        if (job := self.jobs.get(job_id)) is None:
            raise Refusal(404, "no_such_job", "there is no such job; finished ones are kept for a while only")
        return job

    def position(self, job: Job) -> int:
        """Jobs before it."""
        return (self.waiting.index(job) + (self.running is not None)) if job in self.waiting else 0

    def cancel(self, job: Job) -> None:
        """Ends it at once where it waits, at the next window where it runs."""
        job.give_up.set()
        if job in self.waiting:
            self.waiting.remove(job)
            self._end(job, {"say": "cancelled"})

    def remove(self, job: Job) -> None:
        """Cancels it and forgets all about it."""
        self.jobs.pop(job.id, None)
        self.cancel(job)
        if job.state in ENDED:
            self.spool.remove(job.folder)

    def forget_old(self) -> None:
        """Removes finished jobs that are too old or too many."""
        ended = [job for job in self.jobs.values() if job.ended is not None]
        ended.sort(key=lambda job: job.ended or 0.0)
        old = time.monotonic() - self.limits.kept_s
        for number, job in enumerate(ended):
            if (job.ended or 0.0) < old or number < len(ended) - self.limits.kept:
                self.remove(job)

    @property
    def accepting(self) -> bool:
        return not self.closed and len(self.waiting) < self.limits.queue and self.model.ready.is_set()

    async def close(self) -> None:
        """Refuses new jobs, gives those that wait back with 503, lets the running one finish within `grace_s`."""
        self.closed = True
        while self.waiting:
            job = self.waiting.popleft()
            self._end(job, {"say": "refused"}, stopping())
        if self.running is not None:
            running = self.running
            try:
                await asyncio.wait_for(running.finished.wait(), self.limits.grace_s)
            except TimeoutError:
                running.give_up.set()
                with suppress(TimeoutError):
                    await asyncio.wait_for(running.finished.wait(), 2)

    def stop(self) -> None:
        if self._runner is not None:
            self._runner.cancel()

    async def _run(self) -> None:
        while True:
            while not self.waiting:
                self._more.clear()
                await self._more.wait()
            job = self.running = self.waiting.popleft()
            job.state, job.begun = "running", time.monotonic()
            try:
                message = await self._attempts(job)
            except Exception as error:
                message = {"say": "failed", "error": type(error).__name__}
            self.running = None
            self._end(job, message)
            self.forget_old()

    async def _attempts(self, job: Job) -> Message:
        order = {"do": "predict", "job": job.number, "images": [str(path) for path in job.images],
                 "labels": str(job.labels)}  # fmt: skip

        def tell(message: Message) -> None:
            job.stage = message["stage"]
            if job.stage == "network":
                job.windows = (message["done"], message["total"])

        message = GONE
        for _ in range(ATTEMPTS):
            if job.give_up.is_set():
                return {"say": "cancelled"}
            if not await _first(self.model.ready, job.give_up, RESTART_S):
                return {"say": "cancelled" if job.give_up.is_set() else "unready"}
            message = await self.model.predict(order, job.give_up, self.limits.job_s, tell)
            if message["say"] != "gone":
                break
        return message

    def _end(self, job: Job, message: Message, refusal: Refusal | None = None) -> None:
        say = message["say"]
        if say == "done":
            job.state, job.volumes_ml, job.seconds = "done", message["volumes_ml"], message["seconds"]
            job.warnings = message["warnings"]
            job.windows = (message["windows"][0], message["windows"][1])
            with suppress(Refusal):
                self.spool.take(job.folder, job.labels.stat().st_size)
            for stage, value in job.seconds.items():
                self.counters.add("decaseg_job_stage_seconds_total", value, stage=stage)
        else:
            job.state = "cancelled" if say == "cancelled" else "failed"
            if refusal is not None:
                job.refusal = refusal
            elif say == "refused":
                job.refusal = Refusal(message["status"], message["code"], message["sentence"])
            else:
                job.refusal = Refusal(*REFUSALS[say])
        job.ended, job.stage = time.monotonic(), ""
        code = "done" if job.refusal is None else job.refusal.code
        self.counters.add("decaseg_jobs_total", outcome=code)
        waited = (job.begun or job.ended) - job.created
        facts: dict[str, Any] = {"error": message["error"]} if "error" in message else {}
        self.log("job", job=job.number, outcome=code, waited_s=round(waited, 3),
                 seconds=round(job.ended - job.created, 3), stages=job.seconds, **facts)  # fmt: skip
        for path in job.images:  # an image that lies in the job's own folder is not needed any more
            if path.parent == job.folder:
                path.unlink(missing_ok=True)
        job.finished.set()
        if job.id not in self.jobs:  # removed while it ran
            self.spool.remove(job.folder)


async def _first(event: asyncio.Event, other: asyncio.Event, seconds: float) -> bool:
    """Whether `event` is set before `other` is, and in time."""
    waits = [asyncio.ensure_future(one.wait()) for one in (event, other)]
    await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    return event.is_set()
