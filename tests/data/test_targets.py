import json

import numpy as np
import pytest

from decaseg.data.targets import IGNORED, Target, make_target
from decaseg.storage.dataset import Region

BRATS = {0: "background", 1: "edema", 2: "non-enhancing tumor", 3: "enhancing tumour"}


def test_all_has_one_structure_a_label_and_a_background_channel():
    target = make_target("all", {0: "background", 1: "a", 4: "b"})
    assert target.names == ("a", "b") and target.out_channels == 3 and not target.overlapping
    assert target.class_of_label()[[0, 1, 2, 4]].tolist() == [0, 1, 0, 2]
    assert target.paint == (1, 4) and target.painted_names() == {1: "a", 4: "b"}
    label = np.array([[[0, 1, 4]]], np.uint8)
    np.testing.assert_array_equal(target.as_painted(label), label)


def test_whole_joins_all_labels_and_paints_1():
    target = make_target("whole", BRATS)
    assert target.out_channels == 1 and target.overlapping
    assert target.label_sets == {"whole": (1, 2, 3)} and target.predicted_sets == {"whole": (1,)}
    assert target.as_painted(np.array([[[0, 1, 2, 3, 9]]])).tolist() == [[[0, 1, 1, 1, 0]]]


def test_brats_regions_are_nested_and_painted_from_outside_in():
    target = make_target("brats", BRATS)
    assert target.names == ("whole tumor", "tumor core", "enhancing tumor") and target.out_channels == 3
    assert [set(s.labels) for s in target.structures] == [{1, 2, 3}, {2, 3}, {3}]
    assert target.paint == (1, 2, 3) and target.predicted_sets == target.label_sets
    member = target.membership()[:, np.array([0, 1, 2, 3])]
    assert member.tolist() == [[False, True, True, True], [False, False, True, True], [False, False, False, True]]


def test_brats_finds_the_regions_whatever_their_numbers():
    target = make_target("brats", {4: "Enhancing Tumour", 1: "Necrotic and Non-Enhancing", 2: "Peritumoral Edema"})
    assert [set(s.labels) for s in target.structures] == [{1, 2, 4}, {1, 4}, {4}]
    assert target.paint == (2, 1, 4)


def test_painting_the_true_regions_gives_the_label_map_back():
    target = make_target("brats", BRATS)
    label = np.random.default_rng(0).integers(0, 4, (6, 6, 6)).astype(np.uint8)
    painted = np.zeros_like(label)
    for value, mask in zip(target.paint, target.membership()[:, label], strict=True):
        painted[mask] = value
    np.testing.assert_array_equal(painted, label)


@pytest.mark.parametrize("labels", [{1: "liver", 2: "cancer"}, {1: "edema", 2: "enhancing"}, {1: "edema", 2: "core"}])
def test_brats_needs_its_labels_and_says_what_is_there(labels):
    with pytest.raises(ValueError, match=r"--target brats: needs .*" + ", ".join(labels.values())):
        make_target("brats", labels)


def test_an_unknown_target_lists_the_known():
    with pytest.raises(ValueError, match="--target half: choose one of all, whole, brats"):
        make_target("half", BRATS)


@pytest.mark.parametrize("kind", ["all", "whole", "brats"])
def test_targets_survive_json(kind):
    target = make_target(kind, BRATS)
    assert Target.from_json(target.to_json()) == target


REGIONS = (Region("whole", (1, 2, 3), 1), Region("core", (2, 3), 2), Region("enhancing", (3,), 3))


def test_regions_of_the_data_set_are_what_all_means_and_are_painted_in_their_order():
    target = make_target("all", {0: "background", 1: "a", 2: "b", 3: "c"}, REGIONS, 4)
    assert target.kind == "regions" and target.overlapping and target.out_channels == 3
    assert target.label_sets == {"whole": (1, 2, 3), "core": (2, 3), "enhancing": (3,)} and target.paint == (1, 2, 3)
    assert make_target("regions", {1: "a"}, REGIONS, 4) == target
    assert Target.from_json(json.loads(json.dumps(target.to_json()))) == target
    whole = make_target("whole", {1: "a", 2: "b", 3: "c"}, REGIONS, 4)
    assert whole.names == ("whole",) and whole.ignored == 4
    with pytest.raises(ValueError, match="--target regions: the data set defines none"):
        make_target("regions", {1: "a"})


def test_what_is_ignored_has_a_class_of_its_own_and_older_plans_have_none():
    target = make_target("all", {1: "a", 2: "b"}, ignored=9)
    assert target.class_of_label()[[0, 1, 2, 9]].tolist() == [0, 1, 2, IGNORED]
    plain = make_target("all", {1: "a", 2: "b"})
    assert "ignored" not in plain.to_json() and Target.from_json(plain.to_json()) == plain
