from __future__ import annotations

import json

import numpy as np
import pytest

from decaseg.cli import call
from decaseg.data.preprocess import Undo
from decaseg.data.targets import make_target
from decaseg.geometry import Box
from decaseg.inference.restore import Wanted, restore
from decaseg.inference.windows import Slab
from decaseg.metrics.calibration import Reliability
from decaseg.volume import Grid, Volume
from decaseg.workflows.calibrating import Tally, calibration_note

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
TARGETS = {
    "softmax": make_target("all", {1: "core", 2: "rim"}),
    "regions": make_target("brats", {1: "edema", 2: "non-enhancing tumor", 3: "enhancing tumor"}),
}


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("shape", [(7, 6, 5), (4, 3, 5)], ids=["same grid", "resampled"])
def test_slab_by_slab_counts_what_the_whole_probabilities_have(kind, shape):
    """On a file whose axes run the other way, with voxels outside of the crop."""
    target, random = TARGETS[kind], np.random.default_rng(0)
    grid = Grid((9, 8, 6), LPS)
    undo = Undo(grid, shape, Box((1, 1, 0), (8, 7, 5)), shape)
    truth = Volume(random.integers(0, 4 if kind == "regions" else 3, (1, 9, 8, 6)).astype(np.uint8), grid)
    logits = random.normal(0, 2, (target.out_channels, *shape)).astype(np.float32)
    tally = Tally(truth, undo, target)
    slabs = [Slab(0, 0, logits[:, :2]), Slab(0, 2, logits[:, 2:])]
    found = restore(slabs, target, undo, Wanted(probabilities=True, watch=tally.see)).probabilities
    for share, (name, labels) in zip(found.array, target.label_sets.items(), strict=True):
        whole = Reliability.of(share, np.isin(truth.array[0], labels))
        row = tally.rows()[name]
        np.testing.assert_array_equal(row.voxels, whole.voxels)
        np.testing.assert_array_equal(row.true, whole.true)
        np.testing.assert_allclose(row.probability, whole.probability, rtol=1e-5, atol=1e-6)


def test_evaluate_writes_it_beside_the_scores(tiny, tmp_path, capsys):
    out = tmp_path / "evaluation"
    arguments = ["--data", f"{tiny}/data", "--out", str(out), "--no-pictures", "--threads", "1"]
    assert call(["evaluate", f"{tiny}/bundle", *arguments]) == 0
    written = json.loads((out / "calibration.json").read_text())
    metrics = json.loads((out / "metrics.json").read_text())
    assert written["cases"].keys() == metrics["cases"].keys()
    rows = {
        case: {name: Reliability.from_json(row) for name, row in structures.items()}
        for case, structures in written["cases"].items()
    }
    for name, note in calibration_note(rows)["structures"].items():
        assert metrics["calibration"]["structures"][name] == pytest.approx(note, abs=1e-4)
    for case, structures in rows.items():
        sizes = {int(row.voxels.sum()) for row in structures.values()}
        assert len(sizes) == 1 and sizes.pop() > 1000
        for name, row in structures.items():
            scores = metrics["cases"][case][name]
            assert (row.true.sum() == 0) == (scores["volume_truth_ml"] == 0)
