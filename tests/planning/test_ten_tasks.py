"""The planner, given what is published of the Decathlon's ten data sets, makes nnU-Net's published plans.

Spacings, median shapes, patches and batches: Isensee et al. 2021 (supplement of 10.1038/s41592-020-01008-z; also
arXiv:1904.08128), the 3D full-resolution U-Nets; patches, spacings and batches also in MONAI's DynUNet pipeline
(Project-MONAI/tutorials, modules/dynunet_pipeline/task_params.py). nnU-Net counts axes from feet to head, back to
front; here everything is right, front, up, so its lists are turned round. Cases: Antonelli et al. 2022.
Median shapes were compared with published plans for liver, prostate and pancreas; the brain's is BraTS 2020's to a
voxel; those of heart, lung, vessels, spleen and colon were written down from memory of the supplement.

One difference that stays, and is documented: MONAI's DynUNet trains brains and livers with batches of 8 of several
crops; nnU-Net's own are 2, as here.
"""

from dataclasses import dataclass

import numpy as np
import pytest

from decaseg.planning.fingerprint import CaseFacts, ChannelFacts, Fingerprint
from decaseg.planning.plan import make_plan
from decaseg.planning.wishes import Wishes


@dataclass(frozen=True)
class Task:
    """What is published of a data set (lengths in nnU-Net's order) and of the plan nnU-Net makes for it."""

    channels: tuple[str, ...]
    structures: int
    cases: int
    spacing_mm: tuple[float, float, float]
    shape: tuple[int, int, int]
    patch: tuple[int, int, int]
    batch: int
    halved: tuple[int, int, int]  # how often each axis is
    kept_share: float = 1.0


TASKS = {
    "01 brain": Task(("FLAIR", "T1w", "t1gd", "T2w"), 3, 484, (1, 1, 1), (138, 169, 138), (128, 128, 128), 2, (5, 5, 5),
                     kept_share=0.36),
    "02 heart": Task(("MRI",), 1, 20, (1.37, 1.25, 1.25), (115, 320, 232), (80, 192, 160), 2, (4, 5, 5)),
    "03 liver": Task(("CT",), 2, 131, (1, 0.7676, 0.7676), (482, 512, 512), (128, 128, 128), 2, (5, 5, 5)),
    "04 hippocampus": Task(("MRI",), 2, 260, (1, 1, 1), (36, 50, 35), (40, 56, 40), 9, (3, 3, 3)),
    "05 prostate": Task(("T2", "ADC"), 2, 32, (3.6, 0.625, 0.625), (20, 320, 319), (20, 320, 256), 2, (2, 6, 6)),
    "06 lung": Task(("CT",), 1, 63, (1.245, 0.785, 0.785), (252, 512, 512), (80, 192, 160), 2, (4, 5, 5)),
    "07 pancreas": Task(("CT",), 2, 281, (2.5, 0.8027, 0.8027), (96, 512, 512), (40, 224, 224), 2, (3, 5, 5)),
    "08 vessels": Task(("CT",), 2, 303, (1.5, 0.8, 0.8), (150, 494, 494), (64, 192, 192), 2, (4, 5, 5)),
    "09 spleen": Task(("CT",), 1, 41, (1.6, 0.79, 0.79), (187, 512, 512), (64, 192, 160), 2, (4, 5, 5)),
    "10 colon": Task(("CT",), 1, 126, (3, 0.78, 0.78), (150, 512, 512), (56, 192, 160), 2, (3, 5, 5)),
}  # fmt: skip


def fingerprint(task: Task, thick: float = 1.0) -> Fingerprint:
    """Every case like the median one; with `thick`, four in five have slices so many times as thick, so fewer."""
    cases = []
    for number in range(task.cases):
        times = thick if number % 5 else 1.0
        shape = (task.shape[2], task.shape[1], round(task.shape[0] / times))
        spacing = (task.spacing_mm[2], task.spacing_mm[1], task.spacing_mm[0] * times)
        cases.append(CaseFacts(f"{number:03d}", spacing, shape, shape, task.kept_share, {1: 9}, {}, f"{number}"))
    channels = tuple(ChannelFacts(name, 50.0, 100.0, -200.0, 300.0) for name in task.channels)
    labels = {0: "background"} | {value: f"part {value}" for value in range(1, task.structures + 1)}
    return Fingerprint("Task", len(channels), channels, labels, tuple(cases), "x")


@pytest.mark.parametrize("name", TASKS)
def test_patch_batch_spacing_and_poolings_are_nnunets(name):
    task = TASKS[name]
    plan = make_plan(fingerprint(task), Wishes())
    assert plan.patch == task.patch[::-1]
    assert plan.batch_size == task.batch
    assert plan.preprocessing.spacing_mm == pytest.approx(task.spacing_mm[::-1])
    assert plan.network.reduction == tuple(2**n for n in task.halved[::-1])
    assert plan.network.filters == tuple(min(32 * 2**i, 320) for i in range(max(task.halved) + 1))


@pytest.mark.parametrize("name", TASKS)
def test_only_ct_keeps_its_units_and_only_skull_stripped_heads_are_normalised_inside(name):
    kinds = {how.kind for how in make_plan(fingerprint(TASKS[name]), Wishes()).preprocessing.normalisation}
    expected = "ct" if TASKS[name].channels == ("CT",) else "zscore_nonzero" if name == "01 brain" else "zscore"
    assert kinds == {expected}


def test_augmentation_stays_in_the_plane_where_nnunets_does():
    """nnU-Net's plans say do_dummy_2D_data_aug for prostate and pancreas, and not for brain and liver."""
    flat = {name for name, task in TASKS.items() if make_plan(fingerprint(task), Wishes()).flat_axis is not None}
    assert flat == {"05 prostate", "07 pancreas", "10 colon"}
    assert make_plan(fingerprint(TASKS["05 prostate"]), Wishes()).flat_axis == 2


def test_prostates_thick_slices_are_first_left_alone():
    """Strides and kernels of nnU-Net 2's rule for 3.6 mm slices of 0.625 mm pixels, written from feet to head."""
    network = make_plan(fingerprint(TASKS["05 prostate"]), Wishes()).network
    assert [s[::-1] for s in network.strides] == [
        (1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2), (1, 2, 2)]  # fmt: skip
    assert [k[::-1] for k in network.kernels] == [(1, 3, 3)] * 2 + [(3, 3, 3)] * 5


def test_pancreas_has_the_strides_and_kernels_that_nnunet_prints():
    network = make_plan(fingerprint(TASKS["07 pancreas"]), Wishes()).network
    assert [s[::-1] for s in network.strides[1:]] == [(1, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2)]
    assert [k[::-1] for k in network.kernels] == [(1, 3, 3)] + [(3, 3, 3)] * 5


def test_nnunets_own_example_with_5_mm_slices():
    """Its COVID-19 CTs (nnunet/dataset_conversion/Task115_COVIDSegChallenge.py), 5 x 0.742 x 0.742 mm."""
    covid = Task(("CT",), 1, 199, (5.0, 0.742, 0.742), (62, 512, 512), (28, 256, 256), 2, (2, 6, 6))
    plan = make_plan(fingerprint(covid), Wishes())
    assert plan.patch == (256, 256, 28) and plan.batch_size == 2
    assert [s[::-1] for s in plan.network.strides[1:]] == [
        (1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2), (1, 2, 2)]  # fmt: skip


@pytest.mark.parametrize("name", ["07 pancreas", "10 colon"])
def test_where_slices_are_thick_the_thinner_ones_set_the_spacing(name):
    """Four cases in five with slices twice as thick: the median would lose what the others show."""
    task = TASKS[name]
    plan = make_plan(fingerprint(task, thick=2.0), Wishes())
    assert plan.preprocessing.spacing_mm == pytest.approx(task.spacing_mm[::-1])
    assert plan.median_shape[2] == pytest.approx(task.shape[0], abs=1)


def test_where_they_are_not_the_median_does():
    plan = make_plan(fingerprint(TASKS["02 heart"], thick=2.0), Wishes())
    assert plan.preprocessing.spacing_mm[2] == pytest.approx(2 * 1.37)


def test_wider_networks_get_smaller_patches_and_a_number_of_ones_own_stays():
    task = fingerprint(TASKS["03 liver"])
    narrow, wide = (make_plan(task, Wishes(base_filters=f)) for f in (16, 64))
    assert narrow.patch[0] > 128 > wide.patch[0]
    assert make_plan(task, Wishes(batch_size=4)).batch_size == 4
    assert make_plan(task, Wishes(batch_size=8)).patch[0] < 128
    assert make_plan(task, Wishes(patch=(64, 96, 128))).patch == (64, 96, 128)
    with pytest.raises(ValueError, match="use --patch 80 96 128"):
        make_plan(task, Wishes(patch=(70, 96, 128)))


def test_a_budget_too_small_for_anything_still_ends():
    plan = make_plan(fingerprint(TASKS["03 liver"]), Wishes(voxels_per_batch=1))
    assert max(plan.patch) <= 8 and plan.batch_size == 2


def test_a_patch_covers_no_more_than_asked_before_it_is_rounded_up():
    plan = make_plan(fingerprint(TASKS["04 hippocampus"]), Wishes(patch_cover=0.85))
    assert plan.patch == (32, 48, 32)  # 0.85 of 35 x 50 x 36 is 30 x 42 x 31


def test_a_budget_in_minutes_is_shared_by_members_where_the_data_are_small():
    """Wished for with members=None; brains are 484 times 9 million voxels, and get one network in any time."""
    hippocampi, brains = fingerprint(TASKS["04 hippocampus"]), fingerprint(TASKS["01 brain"])

    def members(data, **wishes):
        return make_plan(data, Wishes(**wishes)).network.members

    each = 0.35 * sum(float(np.prod(case.shape)) for case in hippocampi.cases) / 1e6
    assert [members(hippocampi, members=None, minutes=n * each + 0.01) for n in (0.5, 1, 2, 3, 90)] == [1, 1, 2, 3, 4]
    assert members(brains, members=None, minutes=90) == 1
    assert members(hippocampi, members=None) == 1 == members(hippocampi, minutes=90)
    assert members(brains, members=3, minutes=5) == 3
