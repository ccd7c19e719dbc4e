from __future__ import annotations

import pytest

from decaseg.reporting.sections.failures import failure_notes, marks_of


def case(dice=0.8, predicted=10.0, true=10.0, hd95=2.0, **more):
    return {"core": {"dice": dice, "volume_ml": predicted, "volume_truth_ml": true, "hd95_mm": hd95, **more}}


def words(cases, structures=("core",)):
    return [note.words for note in failure_notes(cases, structures)]


def test_nothing_predicted_something_invented_and_something_astray_are_told_with_their_cases():
    cases = {
        "fine": case(),
        "missed": case(0.0, 0.0, 4.0, 100.0),
        "large": case(0.0, 0.0, 7.5, 100.0),
        "invented": case(0.0, 3.0, 0.0, 100.0),
        "astray": case(0.0, 5.0, 5.0, 60.0),
    }
    notes = failure_notes(cases, ["core"])
    assert [n.words for n in notes if n.grave] == [
        "core: nothing was predicted in 2 cases that have it (up to 7.50 ml).",
        "core: predicted in 1 case that has none (3.00 ml).",
        "core: predicted entirely in the wrong place in 1 case.",
    ]
    assert [n.cases for n in notes if n.grave] == [("large", "missed"), ("invented",), ("astray",)]
    assert marks_of(notes) == {"large": ["missed"], "missed": ["missed"], "invented": ["made up"], "astray": ["astray"]}


def test_lesions_are_summed_where_they_were_counted():
    cases = {
        "a": case(lesions_found=3, lesions_missed=2, lesions_false=0),
        "b": case(lesions_found=1, lesions_missed=0, lesions_false=1),
    }
    assert "core: 2 of 6 lesions missed, in 1 case." in words(cases)
    assert "core: 1 lesion predicted where there is none, in 1 case." in words(cases)
    whole = {"a": case(lesions_found=3, lesions_missed=0, lesions_false=0)}
    assert "core: all 3 lesions found, none made up." in words(whole)
    assert any("not looked at" in w for w in words({"a": case()}))


def test_an_outlier_lies_beyond_tukeys_fence_and_empty_masks_do_not_count():
    cases = {f"c{i}": case(hd95=2.0 + 0.1 * i) for i in range(10)}
    assert not any("unusually" in w for w in words(cases))
    cases["far"] = case(hd95=30.0)
    cases["empty"] = case(0.0, 0.0, 5.0, 200.0)
    note = next(n for n in failure_notes(cases, ["core"]) if "unusually" in n.words)
    assert note.cases == ("far",) and "at worst 30.0 mm" in note.words


@pytest.mark.parametrize(("factor", "way"), [(1.3, "too large"), (0.7, "too small")])
def test_a_bias_is_told_with_its_interval_and_its_share(factor, way):
    cases = {f"c{i}": case(predicted=factor * (10 + i), true=10.0 + i) for i in range(8)}
    said = next(w for w in words(cases) if "volumes come out" in w)
    assert way in said and "30 % of the mean volume" in said
    even = {f"c{i}": case(predicted=10.0 + (-1) ** i, true=10.0) for i in range(8)}
    assert any("no bias of volume is shown" in w for w in words(even))


def test_small_ones_that_do_worse_are_told_and_chance_is_not():
    cases = {f"c{i:02d}": case(dice=0.5 + 0.02 * i, predicted=1.0 + i, true=1.0 + i) for i in range(15)}
    said = next(w for w in words(cases) if "small ones do worse" in w)
    assert "Below 5.00 ml the mean Dice is 0.540, above 11.0 ml it is 0.740 (thirds of 5 cases)" in said
    mixed = {f"c{i:02d}": case(dice=0.5 + 0.3 * (i % 2), predicted=1.0 + i, true=1.0 + i) for i in range(15)}
    assert not any("small ones" in w for w in words(mixed))


def test_scores_without_volumes_or_cases_are_no_fault():
    assert failure_notes({}, ["core"]) == []
    assert len(words({"a": {"core": {"dice": 0.0}}, "b": {}})) == 1
