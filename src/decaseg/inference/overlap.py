"""Several cases at the same time, in different stages or side by side: threads, no process pool, nothing to hang on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Read = TypeVar("Read")
Made = TypeVar("Made")


def overlapped(
    items: Sequence[Item],
    read: Callable[[Item], Read],
    compute: Callable[[Item, Read], Made],
    write: Callable[[Item, Made], None],
    ahead: Callable[[Item], bool] = lambda item: True,
) -> None:
    """`write(item, compute(item, read(item)))` for each item, in order, with the results of doing so one by one.

    While `compute` runs here, one thread reads the next item and one writes the previous: at most one is waiting on
    each side. An item that is not `ahead` is read only when nothing else is held. The first error ends the work and
    is raised here as it is, after what was being written is complete; so is KeyboardInterrupt.
    """
    with ThreadPoolExecutor(1, "read") as reader, ThreadPoolExecutor(1, "write") as writer:
        coming: Future[Read] | None = None
        going: Future[None] | None = None
        try:
            for number, item in enumerate(items):
                if coming is None:
                    coming = reader.submit(read, item)
                loaded = coming.result()
                following = items[number + 1] if number + 1 < len(items) else None
                coming = reader.submit(read, following) if following is not None and ahead(following) else None
                made = compute(item, loaded)
                del loaded  # before the next is waited for
                if going is not None:
                    going.result()
                going = writer.submit(write, item, made)
                del made
                if following is not None and coming is None:
                    going.result()  # a large one comes: nothing else is to be in memory
        finally:
            if coming is not None:
                coming.cancel()
            if going is not None:
                going.result()


def side_by_side(items: Sequence[Item], work: Callable[[Item], object], many: int) -> Generator[Item, None, None]:
    """`work(item)` for each item in `many` threads; gives each item, in order, when it is done.

    For cases so small that one does not fill the processor: each thread reads, computes and writes its own. The first
    error ends the work and is raised here as it is, after what was begun is complete; so is KeyboardInterrupt. Who
    stops listening closes it.
    """
    with ThreadPoolExecutor(many, "case") as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for item, future in zip(items, futures, strict=True):
                future.result()
                yield item
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
