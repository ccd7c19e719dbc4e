"""A row of the campaign's table."""

from __future__ import annotations

import statistics
import sys
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    """One row: how often, what came of it, what went wrong, and seconds."""

    fault: str
    count: int = 0
    came: Counter = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def add(self, came: str, wrong: list[str], seconds: float | None = None) -> None:
        self.count += 1
        self.came[came] += 1
        self.wrong += wrong
        for one in wrong:
            print(f"WRONG {self.fault}: {one}", file=sys.stderr, flush=True)
        if seconds is not None:
            self.seconds.append(seconds)

    def __str__(self) -> str:
        came = ", ".join(f"{number} {what}" for what, number in self.came.most_common())
        times = ""
        if self.seconds:
            times = f"; {statistics.median(self.seconds):.1f} s in the median, {max(self.seconds):.1f} at most"
        return f"| {self.fault} | {self.count} | {came}{times} | {len(self.wrong) or 'none'} |"
