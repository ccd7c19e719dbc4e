"""Works on several samples of a batch at once, each with one thread, instead of on one sample with all of them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier

import torch

# Threads that share one operation wait for each other at its end, hundreds of times a sample; samples never do.
# A batch of one takes longer so, but no bit of a sample depends on the samples beside it or on the threads.


def each_sample(work: Callable[[int], None], samples: int, device: torch.device) -> None:
    """Calls `work(0)` to `work(samples - 1)`, on a processor as many at a time as torch has threads.

    Returns when all are done; raises what one of them raised. `work` must write to its own sample only.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads < 2:
        for sample in range(samples):
            work(sample)
        return
    for _ in _crew(threads).map(work, range(samples)):
        pass


@cache
def _crew(threads: int) -> ThreadPoolExecutor:
    """Threads in each of which torch's operations use no further ones; the caller's setting stays as it is."""
    everyone = Barrier(threads)

    def alone(_: int) -> None:
        everyone.wait()  # so that each of the threads runs this
        torch.set_num_threads(1)
        torch.get_num_threads()  # a thread's first call takes over the process's number, later ones leave it alone

    crew = ThreadPoolExecutor(threads, thread_name_prefix="augment")
    for _ in crew.map(alone, range(threads)):
        pass
    torch.set_num_threads(threads)  # the process's number again
    return crew
