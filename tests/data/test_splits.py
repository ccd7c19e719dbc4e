import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import KFold

from decaseg.data.splits import (
    Bond,
    bonds_of,
    bound,
    groups_by_pattern,
    refuse_leaks,
    split_by_fold,
    split_by_fraction,
    split_from,
)


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
        split_by_fold(list("abcd"), 0)
    for fold in (-1, 5):
        with pytest.raises(ValueError, match="choose 0 to 4"):
            split_by_fold([str(i) for i in range(9)], fold)


def patients(counts: list[int]) -> dict[str, str]:
    return {f"pat{p:02d}_{scan}": f"pat{p:02d}" for p, many in enumerate(counts) for scan in range(many)}


@given(st.lists(st.integers(1, 5), min_size=5, max_size=30), st.integers(0, 4))
def test_folds_of_groups_are_scikit_learns_folds_of_their_sorted_names(counts, fold):
    groups = patients(counts)
    split = split_by_fold(list(groups), fold, bonds=bonds_of(groups, ""))
    names = np.array(sorted(set(groups.values())))
    _, val = list(KFold(5, shuffle=True, random_state=12345).split(names))[fold]
    assert {groups[case] for case in split.val} == set(names[val])
    assert sorted(split.train + split.val) == sorted(groups)


@given(st.lists(st.integers(1, 9), min_size=2, max_size=30), st.floats(0.01, 0.99), st.integers(0, 50))
def test_no_group_is_parted_and_the_share_is_as_near_as_groups_allow(counts, fraction, seed):
    groups = patients(counts)
    split = split_by_fraction(list(groups), fraction, seed, bonds_of(groups, ""))
    assert split.train and split.val and sorted(split.train + split.val) == sorted(groups)
    assert not {groups[case] for case in split.train} & {groups[case] for case in split.val}
    if len(split.val) > min(counts):
        assert abs(len(split.val) - fraction * len(groups)) <= max(counts)


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=4), max_size=6))
def test_what_is_bound_by_several_bonds_is_one_part(chains):
    parts = bound("hgfedcba", [Bond("", tuple(chain)) for chain in chains])
    assert sorted(sum(parts, ())) == list("abcdefgh") and parts == tuple(sorted(parts))
    place = {case: part for part in parts for case in part}
    assert all(len({place[case] for case in chain}) == 1 for chain in chains)
    reached = {case: {case} for case in "abcdefgh"}  # by hand: whoever shares a chain, again and again
    for _ in range(8):
        for chain in chains:
            everyone = set().union(*(reached[case] for case in chain))
            reached.update(dict.fromkeys(everyone, everyone))
    assert all(set(place[case]) == reached[case] for case in "abcdefgh")


def test_one_group_cannot_be_split():
    with pytest.raises(ValueError, match="3 cases of one group cannot be split"):
        split_by_fraction(list("abc"), 0.5, 0, [Bond("", tuple("abc"))])
    with pytest.raises(ValueError, match="at least 5 groups of the 6 cases, here are 4"):
        split_by_fold(list("abcdef"), 0, bonds=[Bond("", tuple("abc"))])


NNUNET = [{"train": ["b", "c"], "val": ["a"]}, {"train": ["a", "c"], "val": ["b"]}]


@pytest.mark.parametrize(
    ("document", "fold", "train", "val"),
    [
        ({"train": ["b", "a"], "val": ["c"]}, None, "ab", "c"),
        ({"train": ["b.nii.gz"], "val": []}, None, "b", ""),
        (NNUNET, 0, "bc", "a"),
        (NNUNET, 1, "ac", "b"),
        (NNUNET[:1], None, "bc", "a"),
    ],
)
def test_explicit_lists(document, fold, train, val):
    split = split_from(document, "abc", fold, "s.json")
    assert (split.train, split.val) == (tuple(train), tuple(val))


@pytest.mark.parametrize(
    ("document", "fold", "said"),
    [
        (NNUNET, None, "s.json: holds 2 folds; choose one with --fold 0 to 1"),
        (NNUNET, 2, "--fold 2: s.json holds folds 0 to 1"),
        ([], None, "holds 0 folds"),
        ({"train": ["a"], "val": []}, 0, "--fold 0: s.json holds one split"),
        ({"training": ["a"]}, None, "s.json: is no split; write"),
        ("a", None, "is no split"),
        (["a"], None, "is no split"),
        ({"train": "abc", "val": []}, None, "is no split"),
        ({"train": [1], "val": []}, None, "is no split"),
        ({"train": ["a", "x"], "val": []}, None, '"train" names x, which is no training case'),
        ({"train": ["a"], "val": ["a"]}, None, 'case a stands both under "train" and under "val"'),
        ({"train": ["a", "a"], "val": []}, None, 'case a stands twice under "train"'),
        ({"train": [], "val": ["a"]}, None, '"train" is empty'),
    ],
)
def test_lists_that_cannot_be_are_refused(document, fold, said):
    with pytest.raises(ValueError) as caught:
        split_from(document, "abc", fold, "s.json")
    assert said in str(caught.value)


def test_a_list_that_parts_what_belongs_together_is_refused_by_name():
    split = split_from({"train": ["a", "b"], "val": ["c"]}, "abc", None, "s.json")
    refuse_leaks(split, [Bond("the same image", ("a", "b"))], "s.json")
    with pytest.raises(ValueError, match=r"s.json: b trains and c validates, but they are the same image"):
        refuse_leaks(split, [Bond("the same image", ("b", "c"))], "s.json")


def test_patterns():
    assert groups_by_pattern(["BraTS-GLI-00005-000", "BraTS-GLI-00005-101"], r"GLI-(\d+)-") == {
        "BraTS-GLI-00005-000": "00005",
        "BraTS-GLI-00005-101": "00005",
    }
    assert groups_by_pattern(["p1_x"], r"^p\d+") == {"p1_x": "p1"}
    for pattern, said in (
        (r"(\d+", "no regular expression"),
        (r"q", "finds no group in the case p1"),
        (r"p(q)?1", "no group"),
    ):
        with pytest.raises(ValueError, match=f"--group .*{said}"):
            groups_by_pattern(["p1"], pattern)
