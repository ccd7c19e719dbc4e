from __future__ import annotations

import json

import numpy as np
import pytest

from decaseg.metrics.calibration import BINS, Reliability, pooled


def drawn(n=5000, seed=0):
    random = np.random.default_rng(seed)
    probability = random.random((n, 1, 2)).astype(np.float32) ** 4  # most are small, as in an image
    return probability, random.random((n, 1, 2)) < probability


def test_every_voxel_is_counted_once_in_its_bin():
    probability, truth = drawn()
    found = Reliability.of(probability, truth)
    bins = np.minimum(np.floor(probability.astype(np.float64) * BINS), BINS - 1)
    for b in range(BINS):
        here = bins == b
        assert found.voxels[b] == here.sum() and found.true[b] == truth[here].sum()
        assert found.probability[b] == pytest.approx(probability[here].sum(dtype=np.float64), abs=1e-6)


def test_honest_probabilities_have_no_error_and_halved_ones_are_too_doubtful():
    probability, truth = drawn(100_000)
    honest, doubtful = Reliability.of(probability, truth), Reliability.of(probability / 2, truth)
    assert honest.error < 0.02 and abs(honest.excess) < 0.01
    assert doubtful.error > 0.1 and doubtful.excess < -0.1


def test_parts_add_up_to_the_whole():
    probability, truth = drawn()
    parts = [Reliability.of(p, t) for p, t in zip(np.split(probability, 4), np.split(truth, 4), strict=True)]
    whole = Reliability.of(probability, truth)
    np.testing.assert_allclose(pooled(parts).to_json(), whole.to_json(), atol=1e-3)


def test_what_was_overlooked_is_the_share_of_true_voxels_in_the_first_bin():
    found = Reliability.of(np.array([0.0, 0.04, 0.9, 0.1]), np.array([False, True, True, False]))
    assert found.overlooked == 0.5
    nothing = Reliability.of(np.zeros(3), np.zeros(3, bool))
    assert nothing.overlooked is None and nothing.error is None and nothing.excess is None


def test_json_gives_back_what_went_in_and_refuses_what_nobody_wrote():
    found = Reliability.of(*drawn())
    again = Reliability.from_json(json.loads(json.dumps(found.to_json())))
    assert again.to_json() == found.to_json()
    for broken in (3, [[0, 1]], [[99, 1, 1, 1]], [[0, 1, 0.5, 2]], [[0, -1, 0, 0]], [["0", 1, 1, 1]], [[0, 1, "x", 0]]):
        with pytest.raises(ValueError, match="evaluate again"):
            Reliability.from_json(broken)
