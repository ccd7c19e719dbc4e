"""How ranks notice within a minute that one of them is frozen, or that torchrun is gone.

A rank that ends closes its connections, which the others see at once. One that is stopped, swapped out or lost with
its machine keeps them open, and torch waits half an hour for it. So each rank counts up in torchrun's store, from a
thread of its own, and looks at the others' counts.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from torch.distributed import TCPStore  # type: ignore[attr-defined]

BEAT_S = 3.0
SILENCE_S = 45.0  # longer than anything that keeps a thread from running, shorter than a minute
GRACE_S = 10.0  # for a checkpoint, where torchrun is gone
LEFT = 1 << 40  # a count that says: ended in good order


@contextmanager
def beating(rank: int, processes: list[tuple[int, int]]) -> Iterator[None]:
    """Inside the `with`, this process ends with exit code 1 and a line where another rank falls silent for SILENCE_S.

    `processes` are the numbers of each rank's parent and of its own process. Where torchrun is gone, this process is
    asked to stop as by SIGTERM (a training saves its state), and ends after GRACE_S.
    """
    over = threading.Event()
    watch = _Watch(rank, processes, os.getppid() if "TORCHELASTIC_RUN_ID" in os.environ else None)
    threads = [threading.Thread(target=work, args=(over,), daemon=True) for work in (watch.beat, watch.look)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        threads[0].join(BEAT_S)


class _Watch:
    """Two threads: one talks to the store and may hang on it, one looks at what it heard and when."""

    def __init__(self, rank: int, processes: list[tuple[int, int]], launcher: int | None) -> None:
        self.rank, self.processes, self.launcher = rank, processes, launcher
        self.others = [other for other in range(len(processes)) if other != rank]
        self.counts = dict.fromkeys(self.others, -1)
        self.heard_s = dict.fromkeys(self.others, time.monotonic())

    def beat(self, over: threading.Event) -> None:
        """Counts up, and notes whose count has changed."""
        store = None
        while not over.is_set():
            with suppress(RuntimeError):  # a store that does not answer is silence
                store = store or _store()
                store.add(_count_of(self.rank), 1)
                for other in self.others:
                    self._listen(store, other)
            over.wait(BEAT_S)
        with suppress(RuntimeError):
            if store is not None:
                store.add(_count_of(self.rank), LEFT)

    def _listen(self, store: TCPStore, other: int) -> None:
        count = store.add(_count_of(other), 0)
        if count != self.counts[other] or count >= LEFT:
            self.counts[other], self.heard_s[other] = count, time.monotonic()

    def look(self, over: threading.Event) -> None:
        """Ends this process where another one, or what started them, is gone."""
        looked = time.monotonic()
        while not over.wait(BEAT_S):
            if self.launcher is not None and os.getppid() != self.launcher:
                _stop_politely(over)
            now = time.monotonic()
            if now - looked > SILENCE_S / 2:  # this process itself was stopped: all begin anew
                self.heard_s = dict.fromkeys(self.others, now)
            looked = now
            if silent := [other for other in self.others if now - self.heard_s[other] > SILENCE_S]:
                self._give_up(silent)

    def _give_up(self, silent: list[int]) -> None:
        """Says it where no lower rank can, ends what is frozen on this machine, and ends this process."""
        if not set(range(self.rank)) - set(silent):
            print(
                f"decaseg: process {silent[0] + 1} of {len(self.processes)} of this training has not been heard of for "
                f"{SILENCE_S:.0f} s; what was saved last is whole: go on with the same command and --resume",
                file=sys.__stderr__,
                flush=True,
            )
        for other in silent:
            with suppress(OSError, ValueError, IndexError):
                _end(*self.processes[other])
        os._exit(1)


def _store() -> TCPStore:
    """A connection of its own to the store that the ranks found each other by."""
    port, patience = int(os.environ["MASTER_PORT"]), timedelta(seconds=BEAT_S)
    return TCPStore(os.environ["MASTER_ADDR"], port, is_master=False, wait_for_workers=False, timeout=patience)


def _count_of(rank: int) -> str:
    return f"decaseg/beats/{rank}"


def _stop_politely(over: threading.Event) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    if not over.wait(GRACE_S):
        os._exit(1)


def _end(parent: int, process: int) -> None:
    """Kills a frozen rank, where it is a child of this one's own launcher, and so on this machine."""
    found = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    if parent == found == os.getppid():
        os.kill(process, signal.SIGKILL)
