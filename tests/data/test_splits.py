import numpy as np
import pytest
from sklearn.model_selection import KFold

from decaseg.data.splits import split_by_fold, split_by_fraction


@pytest.mark.parametrize("count", [5, 7, 24, 484])
@pytest.mark.parametrize("fold", range(5))
def test_folds_are_scikit_learns(count, fold):
    names = np.array([f"CASE_{i:03d}" for i in range(count)])
    train, val = list(KFold(5, shuffle=True, random_state=12345).split(names))[fold]
    split = split_by_fold(list(np.random.default_rng(0).permutation(names)), fold)
    assert split.train == tuple(names[train]) and split.val == tuple(names[val])


def test_every_case_validates_in_exactly_one_fold():
    names = [str(i) for i in range(23)]
    assert sorted(sum((split_by_fold(names, k).val for k in range(5)), ())) == sorted(names)


@pytest.mark.parametrize(("count", "fraction", "expected"), [(10, 0.2, 2), (2, 0.01, 1), (3, 0.99, 2), (484, 0.15, 73)])
def test_fraction_is_rounded_but_at_least_one_and_never_all(count, fraction, expected):
    names = [f"{i:03d}" for i in range(count)]
    split = split_by_fraction(names, fraction, seed=1)
    assert len(split.val) == expected
    assert sorted(split.train + split.val) == names


def test_fraction_depends_on_names_and_seed_alone():
    names = [f"{i:03d}" for i in range(40)]
    assert split_by_fraction(names, 0.2, 0) == split_by_fraction(names[::-1], 0.2, 0)
    assert split_by_fraction(names, 0.2, 0) != split_by_fraction(names, 0.2, 1)


def test_fraction_0_trains_on_all():
    assert split_by_fraction(["b", "a"], 0, 0).train == ("a", "b")
    assert split_by_fraction(["a"], 0, 0).val == ()


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 2.0, float("nan")])
def test_bad_fractions_are_refused(fraction):
    with pytest.raises(ValueError, match="--val-fraction"):
        split_by_fraction(["a", "b"], fraction, 0)


def test_what_cannot_be_split_is_refused():
    with pytest.raises(ValueError, match="--val-fraction 0"):
        split_by_fraction(["a"], 0.2, 0)
    with pytest.raises(ValueError, match="at least 5 cases"):
        split_by_fold(["a"] * 4, 0)
    for fold in (-1, 5):
        with pytest.raises(ValueError, match="choose 0 to 4"):
            split_by_fold([str(i) for i in range(9)], fold)
