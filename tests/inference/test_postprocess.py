import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from decaseg.data.targets import make_target
from decaseg.inference.postprocess import Cleaning, PostProcessing
from decaseg.volume import Volume

ALL = make_target("all", {1: "liver", 2: "tumour"})
BRATS = make_target("brats", {1: "edema", 2: "non-enhancing tumor", 3: "enhancing tumour"})
WHOLE = make_target("whole", {1: "edema", 2: "core"})


def line(text):
    """A label map along one axis: digits are labels."""
    return np.array([int(c) for c in text], np.uint8)[:, None, None]


def cleaned(text, target, voxel_ml=0.001, **structures):
    names = {name.replace("_", " "): cleaning for name, cleaning in structures.items()}
    return "".join(str(v) for v in PostProcessing(names).apply(line(text), target, voxel_ml)[:, 0, 0])


def box(*values, shape=(9, 9, 9)):
    """Cubes inside each other, the first from voxel 1 on, each a voxel further in."""
    labels = np.zeros(shape, np.uint8)
    for i, value in enumerate(values):
        labels[(slice(1 + i, -1 - i),) * 3] = value
    return labels


def test_only_the_largest_component_stays_and_equal_ones_all_do():
    assert cleaned("0110111020", ALL, liver=Cleaning(largest=True)) == "0000111020"
    assert cleaned("0110110020", ALL, liver=Cleaning(largest=True)) == "0110110020"


def test_components_hang_together_by_their_corners():
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[0, 0, 0] = labels[1, 1, 1] = labels[3, 3, 3] = 1
    found = PostProcessing({"liver": Cleaning(largest=True)}).apply(labels, ALL, 1.0)
    assert np.argwhere(found).tolist() == [[0, 0, 0], [1, 1, 1]]


def test_crumbs_are_measured_in_millilitres():
    assert cleaned("0110111020", ALL, voxel_ml=0.1, liver=Cleaning(min_ml=0.3)) == "0000111020"
    assert cleaned("0110111020", ALL, voxel_ml=0.2, liver=Cleaning(min_ml=0.3)) == "0110111020"
    assert cleaned("0110111020", ALL, voxel_ml=0.01, liver=Cleaning(min_ml=0.3)) == "0000000020"


def test_holes_are_filled_with_background_only_where_structures_exclude_each_other():
    labels = box(1, 0, 2)  # a shell of liver, a shell of nothing, a tumour inside
    found = PostProcessing({"liver": Cleaning(fill_holes=True)}).apply(labels, ALL, 1.0)
    np.testing.assert_array_equal(found, box(1, 1, 2))
    labels[4, 4, :4] = 0  # a way out
    np.testing.assert_array_equal(PostProcessing({"liver": Cleaning(fill_holes=True)}).apply(labels, ALL, 1.0), labels)


def test_a_tumour_that_goes_leaves_a_hole_that_the_liver_may_fill():
    both = {"liver": Cleaning(fill_holes=True), "tumour": Cleaning(min_ml=1000.0)}
    np.testing.assert_array_equal(PostProcessing(both).apply(box(1, 1, 2), ALL, 1.0), box(1))


def test_what_goes_from_a_region_falls_to_the_region_around_it():
    crumbs = Cleaning(min_ml=0.002)
    assert cleaned("0112321130", BRATS, enhancing_tumor=crumbs) == "0112221120"
    assert cleaned("0112321130", BRATS, tumor_core=crumbs) == "0112321110"
    assert cleaned("0110302330", BRATS, whole_tumor=Cleaning(largest=True)) == "0000002330"
    assert cleaned("0110302330", BRATS, whole_tumor=crumbs) == "0110002330"


def test_holes_of_a_region_are_all_that_is_not_in_it():
    necrosis = box(1, 3, 2)  # edema, a ring that enhances, what does not inside
    rings = PostProcessing({"enhancing tumor": Cleaning(fill_holes=True)})
    np.testing.assert_array_equal(rings.apply(necrosis, BRATS, 1.0), box(1, 3))
    hollow = PostProcessing({"whole tumor": Cleaning(fill_holes=True)})
    np.testing.assert_array_equal(hollow.apply(box(1, 0, 3), BRATS, 1.0), box(1, 1, 3))


def test_the_whole_is_one_region():
    assert cleaned("0110111010", WHOLE, whole=Cleaning(largest=True)) == "0000111000"


def test_first_crumbs_then_holes_of_one_structure():
    labels = np.zeros((12, 9, 9), np.uint8)
    labels[:9] = box(1, 0)
    labels[11, 4, 4] = 1
    found = PostProcessing({"liver": Cleaning(largest=True, fill_holes=True)}).apply(labels, ALL, 1.0)
    np.testing.assert_array_equal(found[:9], box(1))
    assert not found[9:].any()


MAPS = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6), elements=st.integers(0, 3)
)
CLEANINGS = st.builds(Cleaning, st.booleans(), st.booleans(), st.sampled_from([0.0, 0.002, 0.005, 1.0]))


@settings(max_examples=80, deadline=None)
@given(MAPS, st.dictionaries(st.sampled_from(BRATS.names), CLEANINGS), st.permutations(range(3)), st.integers(0, 2))
def test_axes_do_not_matter_margins_do_not_matter_and_twice_is_once(labels, chosen, order, margin):
    post = PostProcessing(chosen)
    once = post.apply(labels, BRATS, 0.001)
    assert once.dtype == np.uint8 and once.shape == labels.shape
    turned = post.apply(np.flip(labels.transpose(order), 0), BRATS, 0.001)
    np.testing.assert_array_equal(turned, np.flip(once.transpose(order), 0))
    np.testing.assert_array_equal(post.apply(np.pad(labels, margin), BRATS, 0.001), np.pad(once, margin))
    removals = PostProcessing({name: Cleaning(c.largest, False, c.min_ml) for name, c in chosen.items()})
    less = removals.apply(labels, BRATS, 0.001)
    np.testing.assert_array_equal(removals.apply(less, BRATS, 0.001), less)
    for values in BRATS.label_sets.values():
        assert not (np.isin(less, values) & ~np.isin(labels, values)).any()  # removing adds to no region


@settings(max_examples=40, deadline=None)
@given(MAPS)
def test_nothing_to_do_changes_nothing(labels):
    for target in (ALL, BRATS):
        for post in (PostProcessing(), PostProcessing(dict.fromkeys(target.names, Cleaning()))):
            assert not post.does_something
            np.testing.assert_array_equal(post.apply(labels, target, 0.001), labels)


def test_the_volume_of_a_voxel_is_the_images():
    labels = Volume.of(line("011011100"), np.diag([10.0, 10.0, 3.0, 1.0]))  # 0.3 ml a voxel
    found = PostProcessing({"liver": Cleaning(min_ml=0.9)}).clean(labels, ALL)
    assert found.array[0, :, 0, 0].tolist() == line("000011100")[:, 0, 0].tolist()
    assert found.grid is labels.grid


def test_the_document_goes_to_json_and_back():
    post = PostProcessing({"liver": Cleaning(True, False, 0.1), "tumour": Cleaning(fill_holes=True)}, cases=12)
    assert PostProcessing.from_json(json.loads(json.dumps(post.to_json())), ALL, "x.json") == post
    assert post.words() == "liver: largest component only, components of 0.1 ml or more; tumour: holes filled"


@pytest.mark.parametrize(
    "document",
    [
        None,
        {},
        {"structures": {}, "cases": "many"},
        {"structures": {"liver": {"smallest": True}}, "cases": 3},
        {"structures": {"liver": {"largest": "yes"}}, "cases": 3},
        {"structures": {"liver": {"min_ml": -1}}, "cases": 3},
        {"structures": {"spleen": {"largest": True}}, "cases": 3},
    ],
)
def test_a_document_that_does_not_fit_is_refused(document):
    with pytest.raises(ValueError, match=r"x\.json: .*(run decaseg postprocess again|choose it again)"):
        PostProcessing.from_json(document, ALL, "x.json")
