"""Works on several pieces of a batch at once, each with one thread, instead of on one with all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier

import torch

# Threads that share one operation wait for each other at its end, hundreds of times a sample; pieces never do. They are
# smaller than samples, since one sample in three is turned or scaled and takes many times as long as the others: two
# threads with a sample each gain a third of what they could (benchmarks/augmentation/). The pieces and how each is made
# do not depend on the number of threads, so no bit of a sample does.


def side_by_side(pieces: Sequence[Callable[[], None]], device: torch.device) -> None:
    """Calls all pieces, on a processor as many at a time as torch has threads, in their order.

    Returns when all are done; raises what one of them raised. A piece must write to its own part of the batch only.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads < 2:
        for piece in pieces:
            piece()
        return
    for _ in _crew(threads).map(lambda piece: piece(), pieces):
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
