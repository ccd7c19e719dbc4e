"""A row whose program fails in every way there is, by the index: so that a test sees each of them told."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.attacks.campaign import Attack, Bad

WORDS = ("fine", "refused", "bad line", "silent", "crash", "memory", "hang", "crash", "fine")


class Row:
    """Attack n fails as `WORDS[n]` says."""

    refusals = (ValueError,)
    most_s, warm = 0.1, 1

    def __init__(self, folder: Path, peers: bool) -> None:
        pass

    def __call__(self, index: int, rng: np.random.Generator) -> Iterator[Attack]:
        yield Attack("faulty", lambda: self.fail(index))

    def fail(self, index: int) -> str:
        if index == 1:
            raise ValueError("a refusal")
        if index == 2:
            raise ValueError("a refusal\nof two lines")
        if index == 3:
            raise Bad("silent", "a witness's word")
        if index == 4:
            raise KeyError("no refusal")
        if index == 5:
            return "took it" if np.ones(300 << 20, np.uint8).any() else ""
        while index == 6:
            pass
        if index == 7:
            os.kill(os.getpid(), signal.SIGSEGV)
        return "fine"
