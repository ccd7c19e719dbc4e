"""Counts, while a case is predicted, how often its probabilities were right: calibration.json of an evaluation.

Slab by slab, as the probabilities come by: they are never held for a whole volume.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decaseg.data.preprocess import Undo, to_ras
from decaseg.data.targets import Target
from decaseg.metrics.calibration import BINS, Reliability, pooled
from decaseg.metrics.case import mask_of
from decaseg.volume import Volume

Rows = Mapping[str, Reliability]  # structure -> what was counted


@dataclass
class Tally:
    """Counts one case: `see` takes what `inference.restore` shows of it, `rows` is the sum with all that lies outside.

    `truth` is (1, X, Y, Z) on the image's own grid.
    """

    truth: Volume
    undo: Undo
    target: Target
    found: dict[str, Reliability] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._cut = to_ras(self.truth.array, self.undo.grid)[(slice(None), *self.undo.box.slices)]

    def see(self, place: tuple[slice, ...], shares: NDArray[np.float32]) -> None:
        """`shares` (structures, X, Y, Z) at `place` of the cropped volume, its axes right, anterior, superior."""
        labels = self._cut[place][0]
        for share, (name, values) in zip(shares, self.target.label_sets.items(), strict=True):
            here = Reliability.of(share, mask_of(labels, values))
            self.found[name] = self.found[name] + here if name in self.found else here

    def rows(self) -> Rows:
        """Outside of the crop the probability is 0, so those voxels are of the first bin."""
        rows = {}
        for name, values in self.target.label_sets.items():
            seen = self.found.get(name, Reliability.none())
            voxels, true = seen.voxels.copy(), seen.true.copy()
            voxels[0] += self.truth.array.size - int(voxels.sum())
            true[0] += int(np.count_nonzero(mask_of(self.truth.array, values))) - int(true.sum())
            rows[name] = Reliability(voxels, seen.probability, true)
        return rows


def calibration_document(cases: Mapping[str, Rows]) -> dict[str, Any]:
    """What calibration.json holds: case -> structure -> rows of bin, voxels, sum of probabilities, true voxels."""
    return {
        "bins": BINS,
        "columns": ["bin", "voxels", "sum_of_probabilities", "true_voxels"],
        "cases": {case: {name: row.to_json() for name, row in rows.items()} for case, rows in cases.items()},
    }


def calibration_note(cases: Mapping[str, Rows]) -> dict[str, Any]:
    """What metrics.json says of it: where it lies, and each structure's numbers over all voxels of all cases."""
    names = next(iter(cases.values()))
    sums = {name: pooled([rows[name] for rows in cases.values()]) for name in names}
    return {
        "file": "calibration.json",
        "structures": {
            name: {"error": one.error, "excess": one.excess, "overlooked": one.overlooked} for name, one in sums.items()
        },
    }
