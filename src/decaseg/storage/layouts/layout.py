"""What a layout is: how a folder is recognised, and how it is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from decaseg.storage.dataset import Dataset


@dataclass(frozen=True)
class Layout:
    """`fits` looks at names alone and is quick; `read` raises ValueError naming file, fault and way out.

    `looked_for` is what a folder must hold to be taken for this layout, in words.
    """

    words: str
    looked_for: str
    fits: Callable[[Path], bool]
    read: Callable[[Path], Dataset]
