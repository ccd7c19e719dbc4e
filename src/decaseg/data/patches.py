"""Batches of patches. Batch number n is a function of (seed, n) alone, so a resumed run sees the same ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from decaseg.data.cases import TrainingCase
from decaseg.geometry import Int3, int3


@dataclass(frozen=True)
class Batch:
    """Patches (B, C, X, Y, Z) float32 with labels (B, X, Y, Z) uint8: the sampler's `rows` of batch number `step`.

    `cases` names the case of every row of the whole batch.
    """

    step: int
    image: NDArray[np.float32]
    label: NDArray[np.uint8]
    cases: tuple[str, ...]


@dataclass(frozen=True)
class PatchSampler:
    """Cuts patches of `shape` from cases: every case equally often, `foreground_share` of them centred on a structure.

    `kept` is the middle of it that is left after turning and scaling (None: all). That, not `shape`, goes through the
    whole case and never leaves it, as the windows of prediction do: else what lies at a case's border would never be
    trained on. What of a patch reaches out of its case is filled with 0, which is the mean (or the air) after
    normalisation. Where several processes share a batch, each draws all of it and cuts its own `rows`.
    """

    cases: list[TrainingCase]
    shape: Int3
    batch_size: int
    foreground_share: float
    seed: int
    rows: slice = field(default_factory=lambda: slice(None))
    kept: Int3 | None = None

    def batch(self, step: int) -> Batch:
        """Batch number `step`; equal numbers give equal batches."""
        rng = np.random.default_rng([self.seed, 1, step])
        chosen = [self._case(step * self.batch_size + i) for i in range(self.batch_size)]
        places = [(case, self._start(case, rng)) for case in chosen]
        mine = places[self.rows]
        image = np.zeros((len(mine), chosen[0].image.shape[0], *self.shape), np.float32)
        label = np.zeros((len(mine), *self.shape), np.uint8)
        for row, (case, start) in enumerate(mine):
            self._cut(case, start, image[row], label[row])
        return Batch(step, image, label, tuple(case.case for case in chosen))

    def _case(self, index: int) -> TrainingCase:
        """Every pass over the cases goes through all of them in an order of its own."""
        number, place = divmod(index, len(self.cases))
        return self.cases[np.random.default_rng([self.seed, 2, number]).permutation(len(self.cases))[place]]

    def _start(self, case: TrainingCase, rng: np.random.Generator) -> Int3:
        size, kept = case.label.shape, self.kept or self.shape
        if case.places and rng.random() < self.foreground_share:
            value = sorted(case.places)[rng.integers(len(case.places))]
            centre = case.places[value][rng.integers(len(case.places[value]))]
            start = [int(c) - n // 2 for c, n in zip(centre, kept, strict=True)]
            start = [self._inside(s, n, v) for s, n, v in zip(start, kept, size, strict=True)]
        else:
            start = [
                int(rng.integers(0, v - n + 1)) if v > n else self._inside(0, n, v)
                for n, v in zip(kept, size, strict=True)
            ]
        return int3(s - (n - k) // 2 for s, n, k in zip(start, self.shape, kept, strict=True))

    @staticmethod
    def _inside(start: int, patch: int, size: int) -> int:
        """Moves a patch into the volume; one larger than the volume is put round its middle."""
        return min(max(start, 0), size - patch) if size >= patch else (size - patch) // 2

    def _cut(self, case: TrainingCase, start: Int3, image: NDArray, label: NDArray) -> None:
        source = tuple(
            slice(max(s, 0), min(s + n, v)) for s, n, v in zip(start, self.shape, case.label.shape, strict=True)
        )
        target = tuple(slice(cut.start - s, cut.stop - s) for cut, s in zip(source, start, strict=True))
        image[(slice(None), *target)] = case.image[(slice(None), *source)]
        label[target] = case.label[source]


def read_ahead(sampler: PatchSampler, first_step: int, depth: int) -> Generator[Batch, None, None]:
    """Batches from `first_step` on, without end, cut by one thread that stays `depth` ahead.

    What goes wrong in the thread is raised here, with its own traceback. Close the iterator to stop the thread.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="patches") as pool:
        waiting: deque[Future[Batch]] = deque(pool.submit(sampler.batch, first_step + i) for i in range(depth))
        step = first_step + depth
        try:
            while True:
                yield waiting.popleft().result()
                waiting.append(pool.submit(sampler.batch, step))
                step += 1
        finally:
            for future in waiting:
                future.cancel()
