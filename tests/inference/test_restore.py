import numpy as np
import pytest

from decaseg.data.preprocess import Undo
from decaseg.data.targets import make_target
from decaseg.geometry import Box
from decaseg.inference.restore import restore_labels, restore_probabilities
from decaseg.volume import Grid

GRID = Grid((6, 5, 4), np.eye(4))
UNDO = Undo(GRID, (6, 5, 4), Box((1, 1, 1), (5, 4, 3)), (4, 3, 2))
BRATS = make_target("brats", {1: "edema", 2: "non-enhancing tumor", 3: "enhancing tumor"})


def logits(*values):
    return np.stack([np.full((4, 3, 2), v, np.float32) for v in values])


def inside(volume):
    cut = volume.array[(slice(None), *UNDO.box.slices)]
    outside = volume.array.copy()
    outside[(slice(None), *UNDO.box.slices)] = 0
    assert not outside.any()
    return cut


@pytest.mark.parametrize(("values", "label"), [((2, 1, 0), 0), ((0, 2, 1), 4), ((-3, -2, -1), 7), ((1, 1, 1), 0)])
def test_softmax_paints_the_largest_with_the_data_sets_number(values, label):
    found = restore_labels(logits(*values), make_target("all", {4: "a", 7: "b"}), UNDO)
    assert found.array.dtype == np.uint8 and (inside(found) == label).all() and found.grid is GRID


@pytest.mark.parametrize(
    ("values", "label"), [((1, 1, 1), 3), ((1, 1, -1), 2), ((1, -1, -1), 1), ((-1, -1, -1), 0), ((-1, -1, 1), 3)]
)
def test_regions_are_painted_with_the_last_on_top(values, label):
    assert (inside(restore_labels(logits(*values), BRATS, UNDO)) == label).all()


def test_probabilities_are_softmax_without_background_or_sigmoids():
    found = inside(restore_probabilities(logits(0, np.log(2), np.log(5)), make_target("all", {1: "a", 2: "b"}), UNDO))
    np.testing.assert_allclose(found[:, 0, 0, 0], [2 / 8, 5 / 8], rtol=1e-5)
    found = inside(restore_probabilities(logits(0, np.log(3), -50), BRATS, UNDO))
    np.testing.assert_allclose(found[:, 0, 0, 0], [0.5, 0.75, 0], atol=1e-6)


@pytest.mark.filterwarnings("error")
def test_enormous_logits_give_no_nan_and_no_warning():
    for target in (BRATS, make_target("all", {1: "a", 2: "b"})):
        found = restore_probabilities(logits(-1e4, 1e4, 0), target, UNDO).array
        assert np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1


def test_logits_of_another_case_are_refused():
    with pytest.raises(ValueError, match="do not belong"):
        restore_labels(np.zeros((2, 3, 3, 3), np.float32), make_target("whole", {1: "a"}), UNDO)
