import json

import numpy as np
import pytest

from decaseg.data.targets import make_target
from decaseg.inference.choose_postprocess import Judged, choose
from decaseg.inference.postprocess import Cleaning
from decaseg.volume import Volume

ALL = make_target("all", {1: "liver", 2: "tumour"})
AFFINE = np.diag([5.0, 5.0, 4.0, 1.0])  # 0.1 ml a voxel


def case(*changes, shape=(16, 14, 12)):
    """A liver of 6 x 6 x 6 with a tumour beside it; `changes` are (slices, value) of the prediction."""
    truth = np.zeros(shape, np.uint8)
    truth[2:8, 2:8, 2:8] = 1
    truth[9:12, 2:6, 2:6] = 2
    prediction = truth.copy()
    for slices, value in changes:
        prediction[slices] = value
    return Judged.of(Volume.of(prediction, AFFINE), Volume.of(truth, AFFINE))


STRAY = (np.s_[13:15, 10:13, 8:11], 1)  # 18 voxels of liver far away: 1.8 ml
HOLE = (np.s_[4:6, 4:6, 4:6], 0)


def test_what_helps_everywhere_is_chosen_and_nothing_else():
    found = choose([case(STRAY), case(STRAY), case()], ALL)
    (name, cleaning), *more = found.chosen.structures.items()
    assert name == "liver" and not more and cleaning != Cleaning() and not cleaning.fill_holes
    assert found.after == {"liver": 1.0, "tumour": 1.0} and found.before["liver"] < 1
    assert [t.reason for t in found.trials if t.adopted] == ["helps"]
    assert found.chosen.cases == 3


def test_one_after_the_other_where_both_help():
    found = choose([case(STRAY, HOLE) for _ in range(3)], ALL)
    assert found.chosen.structures["liver"].fill_holes and found.chosen.structures["liver"].removes
    assert found.after["liver"] == 1.0
    assert sum(t.adopted for t in found.trials) == 2


def test_what_helps_no_one_is_not_chosen():
    found = choose([case() for _ in range(4)], ALL)
    assert not found.chosen.does_something and found.before == found.after
    assert {t.reason for t in found.trials} == {"changes nothing"}


def test_a_gain_that_costs_another_structure_is_not_chosen():
    """A false component of the whole tumor holds a voxel of true enhancing tumor: without it the whole gains."""
    brats = make_target("brats", {1: "edema", 2: "non-enhancing tumor", 3: "enhancing tumour"})
    truth = np.zeros((14, 14, 26), np.uint8)
    truth[2:12, 2:12, 2:12] = 1
    truth[4:8, 4:8, 4:8] = 3
    truth[6, 6, 20] = 3
    prediction = truth.copy()
    prediction[3:9, 3:9, 17:23] = 1
    prediction[6, 6, 20] = 3
    found = choose([Judged.of(Volume.of(prediction), Volume.of(truth)) for _ in range(3)], brats)
    largest = next(t for t in found.trials if t.structure == "whole tumor" and t.does == "largest component only")
    assert largest.gain > 0.01 and largest.cases_better == 3
    assert not largest.adopted and largest.reason == "a structure loses by it"
    assert all(after >= found.before[name] for name, after in found.after.items())


def test_an_operation_that_takes_what_is_true_is_not_chosen():
    """The liver of one case was predicted in two pieces; in the others there is nothing to gain."""
    pieces = case((np.s_[3:5, :, :], 0))
    found = choose([case(), case(), pieces], ALL)
    largest = next(t for t in found.trials if t.structure == "liver" and t.does == "largest component only")
    assert largest.gain < 0 and largest.cases_worse == 1 and not largest.adopted
    assert not found.chosen.does_something


def test_two_cases_choose_nothing_and_none_is_an_error():
    found = choose([case(STRAY), case(STRAY)], ALL)
    assert not found.chosen.does_something and not found.trials
    with pytest.raises(ValueError, match="there is no case"):
        choose([], ALL)


def test_one_case_alone_that_gains_does_not_outvote_two_that_lose():
    """The gain of the mean is large, but more cases get worse than better."""
    bad = case((np.s_[12:15, 6:13, 2:11], 1), (np.s_[12:15, 7:13, 2:11], 1))
    lone = (np.s_[13:14, 12:13, 10:11], 2)

    def hurt():
        truth = np.zeros((16, 14, 12), np.uint8)
        truth[2:8, 2:8, 2:8] = 1
        truth[13:15, 12:13, 10:12] = 1  # a second true piece of 4 voxels
        truth[9:12, 2:6, 2:6] = 2
        return Judged.of(Volume.of(truth, AFFINE), Volume.of(truth, AFFINE))

    found = choose([bad, hurt(), hurt(), case(lone)], ALL)
    largest = [t for t in found.trials if t.structure == "liver" and t.does == "largest component only"]
    assert largest[0].gain > 0.001 and largest[0].cases_worse == 2 and not largest[0].adopted
    assert largest[0].reason == "no more cases get better than worse"


def test_cutting_a_case_to_its_box_keeps_every_score():
    cut = case(STRAY)
    assert cut.prediction.shape == (13, 11, 9) and cut.voxel_ml == pytest.approx(0.1)
    empty = Volume.of(np.zeros((4, 4, 4), np.uint8))
    assert Judged.of(empty, empty).prediction.shape == (1, 1, 1)


def test_the_document_tells_what_was_tried():
    document = json.loads(json.dumps(choose([case(STRAY, HOLE) for _ in range(3)], ALL).to_json(), allow_nan=False))
    assert document["mean_dice"]["after"] == 1.0 > document["mean_dice"]["before"]
    assert {"structure", "does", "gain", "adopted", "reason", "mean_dice"} <= set(document["tried"][0])
