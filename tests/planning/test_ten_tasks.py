"""The planner, given what is published of the Decathlon's ten data sets, makes the plans that nnU-Net 2 makes.

Facts and sources: tests/tasks.py. nnU-Net 1's plans (the paper's, Isensee et al. 2021) differ from its own
successor's in one number, the colon's patch.
"""

import numpy as np
import pytest

from decaseg.planning.fingerprint import CaseFacts, ChannelFacts, Fingerprint
from decaseg.planning.plan import make_plan
from decaseg.planning.wishes import Wishes
from tests.tasks import TASKS, Task

SHORT = {name[4:6]: task for name, task in TASKS.items()}


def fingerprint(task: Task, *, thick: bool = False) -> Fingerprint:
    """Every case at the plan's spacing; with `thick`, only two in ten are: the others are like the median one."""
    cases = []
    for number in range(task.cases):
        like_the_plan = not thick or number % 10 < 2
        spacing = task.spacing_mm if like_the_plan else task.median_spacing_mm
        shape = task.shape if like_the_plan else task.median_shape
        kept = 0.4 if task.inside else 1.0  # nnU-Net logs only that it is below 0.75
        cases.append(CaseFacts(f"{number:03d}", spacing, shape, shape, kept, {1: 9}, {}, f"{number}"))
    channels = tuple(ChannelFacts(name, *facts) for name, facts in zip(task.channels, task.intensities, strict=True))
    labels = {0: "background"} | dict(enumerate(task.structures, 1))
    return Fingerprint(task.name, len(channels), channels, labels, tuple(cases), "x")


@pytest.mark.parametrize("name", TASKS)
def test_spacing_patch_batch_poolings_and_kernels_are_nnunets(name):
    task = TASKS[name]
    plan = make_plan(fingerprint(task), Wishes())
    assert plan.patch == task.patch
    assert plan.batch_size == task.batch
    assert plan.preprocessing.spacing_mm == pytest.approx(task.spacing_mm)
    assert plan.median_shape == task.shape
    assert plan.network.strides == ((1, 1, 1), *task.strides)
    flat = ((3, 3, 1),) * task.flat_kernels
    assert plan.network.kernels == flat + ((3, 3, 3),) * (len(task.strides) + 1 - task.flat_kernels)
    assert plan.network.filters == tuple(min(32 * 2**i, 320) for i in range(len(task.strides) + 1))


@pytest.mark.parametrize("name", TASKS)
def test_normalisation_is_nnunets(name):
    """CT by the data set's own numbers; skull-stripped brains and hearts inside what is not 0; the rest as a whole."""
    task = TASKS[name]
    normalisation = make_plan(fingerprint(task), Wishes()).preprocessing.normalisation
    assert {how.kind for how in normalisation} == {task.normalisation}
    if task.modality == "CT":
        assert [(n.mean, n.std, n.low, n.high) for n in normalisation] == list(task.intensities)


@pytest.mark.parametrize("short", ["07", "08", "09", "10"])
def test_where_slices_are_thick_the_thinner_ones_set_the_spacing(short):
    """nnU-Net logs a median of 5 mm for vessels, spleen and colon, and targets of 1.5, 1.6 and 3 mm."""
    task = SHORT[short]
    plan = make_plan(fingerprint(task, thick=True), Wishes())
    assert plan.preprocessing.spacing_mm == pytest.approx(task.spacing_mm)
    assert fingerprint(task, thick=True).median_spacing_mm() == pytest.approx(task.median_spacing_mm)


def test_where_they_are_not_the_median_does():
    cases = [(1.25, 1.25, 1.37 * times) for times in (1, 2, 2, 2, 2)]
    facts = [CaseFacts(f"{i}", mm, (232, 320, 60), (232, 320, 60), 1.0, {}, {}, "") for i, mm in enumerate(cases)]
    heart = Fingerprint("heart", 1, (ChannelFacts("MRI", 0, 1, 0, 1),), {0: "b", 1: "a"}, tuple(facts), "x")
    assert make_plan(heart, Wishes()).preprocessing.spacing_mm[2] == pytest.approx(2 * 1.37)


def test_augmentation_stays_in_the_plane_where_nnunets_does():
    """Its rule: the patch's longest axis has more than 3 times the voxels of the one across the slices."""
    flat = {short for short, task in SHORT.items() if make_plan(fingerprint(task), Wishes()).flat_axis is not None}
    assert flat == {"05", "07", "10"}
    assert make_plan(fingerprint(SHORT["05"]), Wishes()).flat_axis == 2


def test_nnunet_1s_colon_has_a_smaller_patch_and_follows_from_a_smaller_budget():
    """160 x 192 x 56 in MONAI's copy of its plans; with a budget 2 % smaller all ten are nnU-Net 1's."""
    smaller = Wishes(voxels_per_batch=5_100_000)
    assert make_plan(fingerprint(SHORT["10"]), smaller).patch == (160, 192, 56)
    others = [task for short, task in SHORT.items() if short != "10"]
    assert all(make_plan(fingerprint(task), smaller).patch == task.patch for task in others)


def test_nnunets_own_example_with_5_mm_slices():
    """Its COVID-19 CTs (nnunet/dataset_conversion/Task115_COVIDSegChallenge.py), 5 x 0.742 x 0.742 mm."""
    shape, spacing = (512, 512, 62), (0.742, 0.742, 5.0)
    cases = tuple(CaseFacts(f"{i}", spacing, shape, shape, 1.0, {}, {}, "") for i in range(199))
    covid = Fingerprint("covid", 1, (ChannelFacts("CT", 0, 1, 0, 1),), {0: "b", 1: "a"}, cases, "x")
    plan = make_plan(covid, Wishes())
    assert plan.patch == (256, 256, 28) and plan.batch_size == 2
    assert [s[::-1] for s in plan.network.strides[1:]] == [
        (1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2), (1, 2, 2)]  # fmt: skip


def test_wider_networks_get_smaller_patches_and_a_number_of_ones_own_stays():
    task = fingerprint(SHORT["03"])
    narrow, wide = (make_plan(task, Wishes(base_filters=f)) for f in (16, 64))
    assert narrow.patch[0] > 128 > wide.patch[0]
    assert make_plan(task, Wishes(batch_size=4)).batch_size == 4
    assert make_plan(task, Wishes(batch_size=8)).patch[0] < 128
    assert make_plan(task, Wishes(patch=(64, 96, 128))).patch == (64, 96, 128)
    with pytest.raises(ValueError, match="use --patch 80 96 128"):
        make_plan(task, Wishes(patch=(70, 96, 128)))


def test_the_finest_level_may_have_fewer_filters_than_half_the_next():
    task = fingerprint(SHORT["04"])
    assert make_plan(task, Wishes(base_filters=24, finest_filters=16)).network.filters == (16, 48, 96, 192)
    assert make_plan(task, Wishes(base_filters=12, finest_filters=16)).network.filters == (12, 24, 48, 96)


def test_a_budget_too_small_for_anything_still_ends():
    plan = make_plan(fingerprint(SHORT["03"]), Wishes(voxels_per_batch=1))
    assert max(plan.patch) <= 8 and plan.batch_size == 2


def test_a_patch_covers_no_more_than_asked_before_it_is_rounded_up():
    plan = make_plan(fingerprint(SHORT["04"]), Wishes(patch_cover=0.85))
    assert plan.patch == (32, 48, 32)  # 0.85 of 35 x 50 x 36 is 30 x 42 x 31


def test_a_budget_in_minutes_is_shared_by_members_where_the_data_are_small():
    """Wished for with members=None; brains are 484 times 9 million voxels, and get one network in any time."""
    hippocampi, brains = fingerprint(SHORT["04"]), fingerprint(SHORT["01"])

    def members(data, **wishes):
        return make_plan(data, Wishes(**wishes)).network.members

    each = 0.35 * sum(float(np.prod(case.shape)) for case in hippocampi.cases) / 1e6
    assert [members(hippocampi, members=None, minutes=n * each + 0.01) for n in (0.5, 1, 2, 3, 90)] == [1, 1, 2, 3, 8]
    assert members(brains, members=None, minutes=90) == 1
    assert members(hippocampi, members=None) == 1 == members(hippocampi, minutes=90)
    assert members(brains, members=3, minutes=5) == 3
