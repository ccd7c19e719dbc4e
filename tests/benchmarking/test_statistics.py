import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decaseg.benchmarking.statistics import Spread, times_as_fast

SECONDS = st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=30)


@given(SECONDS)
def test_the_median_lies_between_the_quartiles(values):
    spread = Spread.of(values)
    assert min(values) <= spread.quartiles[0] <= spread.median <= spread.quartiles[1] <= max(values)
    assert spread.n == len(values)


@given(SECONDS, st.floats(0.1, 10))
def test_a_model_that_always_takes_a_share_of_the_time_is_that_much_faster_without_doubt(values, share):
    ratio = times_as_fast(values, [v * share for v in values])
    assert ratio.median == pytest.approx(1 / share)
    assert ratio.ci95 == pytest.approx((1 / share, 1 / share))


def test_what_disturbs_both_models_alike_does_not_touch_the_ratio():
    quiet, disturbed = [1.0] * 9, [1.0, 5.0, 1.0, 9.0, 1.0, 2.0, 30.0, 1.0, 1.0]
    assert times_as_fast(disturbed, [v / 2 for v in disturbed]) == times_as_fast(quiet, [v / 2 for v in quiet])


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(1)
    inside = 0
    for seed in range(200):
        noise = random.lognormal(0, 0.2, (2, 15))
        low, high = times_as_fast(2 * noise[0], noise[1], seed).ci95
        inside += low <= 2 <= high
    assert 0.9 <= inside / 200 <= 1


def test_a_single_round_has_no_interval():
    assert times_as_fast([2.0], [1.0]).ci95 is None
