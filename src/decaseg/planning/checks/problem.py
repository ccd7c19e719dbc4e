"""One thing that is wrong: where, what, and the way out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Severity = Literal["error", "warning", "notice"]


@dataclass(frozen=True)
class Problem:
    """A file, what is wrong with it and what to do.

    Errors spoil a training; warnings are worth a look; notices are worth knowing. `rule` names who found it.
    """

    file: Path
    fault: str
    fix: str
    severity: Severity = "error"
    rule: str = ""

    def __str__(self) -> str:
        """One line, whatever the file's name holds."""
        line = " ".join(f"{self.file}: {self.severity}: {self.fault}; {self.fix}".splitlines())
        return line.encode("utf-8", "backslashreplace").decode()


def count(number: int, what: str) -> str:
    """
    >>> count(1, "voxel"), count(2000, "voxel")
    ('1 voxel', '2,000 voxels')
    """
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def some(names: list[str], most: int = 3) -> str:
    """
    >>> some(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    if len(names) <= most + 1:
        return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else ""
    return f"{', '.join(names[:most])} and {len(names) - most:,} more"
