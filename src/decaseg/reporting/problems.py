"""Problems as lines for a terminal: like ones together, the first few of them, and how many more there are."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Protocol

SHOWN = 5  # of each kind
GLANCE = 3  # words of a fault by which it is told from others of the same rule


class Line(Protocol):
    """What is needed of a problem: its text is one line."""

    @property
    def severity(self) -> str: ...

    @property
    def rule(self) -> str: ...

    @property
    def fault(self) -> str: ...


def lines(found: Sequence[Line], everything: bool = False) -> Iterator[str]:
    """A line a problem, in the given order but for like ones, which stand together; of many, the first SHOWN.

    Like are those of one severity and rule whose faults begin alike, numbers apart.
    """
    kinds: dict[tuple[str, ...], list[Line]] = defaultdict(list)
    for problem in found:
        beginning = re.sub(r"\d[\d.,]*", "#", problem.fault).split()[:GLANCE]
        kinds[problem.severity, problem.rule, *beginning].append(problem)
    for (severity, *_), problems in kinds.items():
        few = problems if everything or len(problems) <= SHOWN + 1 else problems[:SHOWN]
        yield from map(str, few)
        if more := len(problems) - len(few):
            yield f"{severity}: and {more:,} more like these; --all or --json lists them"
