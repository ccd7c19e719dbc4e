"""Cases shared among the processes that `torchrun` starts; each works alone and needs none of the others."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Share:
    """Process number `rank` of `size`, `local_size` of which are on this machine."""

    rank: int = 0
    size: int = 1
    local_size: int = 1

    @classmethod
    def from_torchrun(cls) -> Share:
        """What torchrun tells this process; one that has it all, where torchrun did not start it."""
        rank, size, local = (os.environ.get(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"))
        return cls(int(rank or 0), int(size or 1), int(local or 1))

    def of(self, items: Sequence[T]) -> list[T]:
        """Every `size`-th item, from number `rank` on."""
        return list(items[self.rank :: self.size])

    def threads(self, wanted: int | None) -> int | None:
        """Threads of this process: what is wanted, else its part of the machine's cores; None: all of them."""
        if wanted is not None or self.local_size == 1:
            return wanted
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, cores // self.local_size)

    @property
    def words(self) -> str:
        """For lines that say what was done."""
        return f"process {self.rank + 1} of {self.size}: " if self.size > 1 else ""
