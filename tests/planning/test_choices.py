"""Every number of a plan can be a person's, and then it is exactly that; contradictions are refused in a line."""

import pytest

from decaseg.planning.plan import Plan, make_plan
from decaseg.planning.topology import kernels_for, plan_topology, strides_for
from decaseg.planning.wishes import Wishes
from decaseg.recipes import named
from decaseg.workflows.plan import chosen_for_plan, wishes_of
from tests.planning.test_ten_tasks import fingerprint
from tests.tasks import TASKS

PROSTATE = fingerprint(TASKS["Task05_Prostate"])
STRIDES = ((1, 1, 1), (2, 2, 1), (2, 2, 2))


def plan(**wishes) -> Plan:
    return make_plan(PROSTATE, Wishes(**wishes))


def test_weights_that_never_saw_an_axis_mirrored_are_not_trained_on_it_mirrored():
    task = fingerprint(TASKS["Task05_Prostate"])
    free = make_plan(task, Wishes())
    upright = make_plan(task, Wishes(mirror="x"))
    assert make_plan(task, Wishes(), upright).mirror_axes == tuple(a for a in free.mirror_axes if a == 0)
    assert make_plan(task, Wishes(mirror="xz"), upright).mirror_axes == (0, 2)
    assert make_plan(task, Wishes(), make_plan(task, Wishes(mirror="all"))).mirror_axes == free.mirror_axes


def test_each_number_is_the_persons():
    assert plan(spacing_mm=(0.5, 0.6, 3)).preprocessing.spacing_mm == (0.5, 0.6, 3)
    assert plan(spacing_mm=(1.25, 1.25, 3.6)).median_shape == (160, 160, 20)
    assert plan(strides=STRIDES).network.strides == STRIDES
    assert plan(strides=STRIDES).network.kernels == ((3, 3, 1), (3, 3, 1), (3, 3, 3))
    assert plan(strides=STRIDES, kernels=((3, 3, 3),) * 3).network.kernels == ((3, 3, 3),) * 3
    assert plan(strides=STRIDES, filters=(5, 6, 7)).network.filters == (5, 6, 7)
    assert plan(poolings=(2, 2, 1)).network.reduction == (4, 4, 2)
    assert plan(poolings=(2, 2, 1), patch=(64, 64, 16)).patch == (64, 64, 16)
    assert plan(poolings=(0, 0, 0)).network.strides == ((1, 1, 1),)
    assert plan(batch_size=3).batch_size == 3
    assert plan(max_levels=2).network.strides == ((1, 1, 1), (2, 2, 1))
    assert plan(channels=("ADC",)).preprocessing.channels == ("ADC",)
    assert plan(mirror="xz").mirror_axes == (0, 2) and plan(mirror="all").mirror_axes == (0, 1, 2)
    assert not plan(crop=False).preprocessing.crop_to_nonzero
    kinds = plan(normalisation=("ct:-10:90", "zscore_nonzero")).preprocessing.normalisation
    assert (kinds[0].kind, kinds[0].low, kinds[0].high) == ("ct", -10, 90) and kinds[1].kind == "zscore_nonzero"
    assert (kinds[0].mean, kinds[0].std) == TASKS["Task05_Prostate"].intensities[0][:2]
    four = plan(normalisation=("ct:-10:90:40:25",)).preprocessing.normalisation
    assert [(n.low, n.high, n.mean, n.std) for n in four] == [(-10, 90, 40, 25)] * 2


@pytest.mark.parametrize("name", TASKS)
def test_the_plans_own_numbers_asked_for_make_the_same_plan(name):
    facts = fingerprint(TASKS[name])
    own = make_plan(facts, Wishes())
    net = own.network
    halved = tuple(n.bit_length() - 1 for n in net.reduction)
    explicit = {"spacing_mm": own.preprocessing.spacing_mm, "patch": own.patch, "batch_size": own.batch_size}
    assert make_plan(facts, Wishes(**explicit, poolings=halved)) == own
    levels = {"strides": net.strides, "kernels": net.kernels, "filters": net.filters}
    assert make_plan(facts, Wishes(**explicit, **levels)) == own


def test_kernels_and_poolings_follow_one_rule():
    for patch, spacing in (
        ((256, 320, 20), (0.625, 0.625, 3.6)),
        ((40, 56, 40), (1, 1, 1)),
        ((64, 64, 9), (1, 2.1, 5)),
    ):
        found = plan_topology(patch, spacing, 7)
        assert found.kernels == kernels_for(found.strides, spacing)
        halved = tuple(n.bit_length() - 1 for n in found.multiple)
        assert strides_for(halved, spacing) == found.strides


def test_a_patch_that_poolings_do_not_divide_is_refused_with_one_that_they_do():
    with pytest.raises(ValueError, match="use --patch 64 64 16"):
        plan(poolings=(3, 3, 2), patch=(60, 64, 14))


def test_what_was_chosen_is_told_from_what_followed():
    recipe = named("default").with_settings({"patch": "64,64,16", "mirror": "none", "lr": "0.1"})
    assert chosen_for_plan(recipe) == ("patch", "mirror")
    assert chosen_for_plan(recipe, memory_gib=4) == ("patch", "mirror", "memory")
    assert set(recipe.chosen()) == {"patch", "mirror", "lr"}
    assert chosen_for_plan(named("original")) == ()
    own = make_plan(PROSTATE, wishes_of(recipe))
    assert Plan.from_json(own.to_json()).chosen == ()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("spacing_mm=0,1,1", "--spacing 0 1 1: must be above 0 mm each"),
        ("spacing_mm=nan,1,1", "--spacing nan 1 1: must be above 0"),
        ("spacing_mm=1,1", "--set spacing_mm=1,1: the value must be of type"),
        ("normalisation=zcore", "--set normalisation=zcore: choose one of zscore"),
        ("normalisation=ct:5", "--set normalisation=ct:5: write zscore"),
        ("normalisation=ct:9:1", "--set normalisation=ct:9:1: LOW must be below HIGH"),
        ("normalisation=ct:0:1:0:0", "and STD above 0"),
        ("normalisation=zscore:1:2", "write zscore"),
        ("normalisation=ct:a:b", "write zscore"),
        ("poolings=-1,0,0", "--set poolings=-1,0,0: give 0 to 10"),
        ("strides=2x2x2", "--set strides=2x2x2: the first level is the patch itself"),
        ("strides=1x1x1,3x1x1", "an axis is halved (2) or not (1)"),
        ("strides=1x1,2x2", "the value must be of type"),
        ("kernels=2x3x3", "--set kernels=2x3x3: give lengths of 1, 3, 5 or 7"),
        ("filters=0", "--set filters=0: give each level at least 1"),
        ("mirror=yx", "--set mirror=yx: choose one of"),
    ],
)
def test_a_bad_choice_is_refused(setting, said):
    key, _, value = setting.partition("=")
    with pytest.raises(ValueError) as caught:
        named("default").with_settings({key: value})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"poolings": (1, 1, 1), "strides": STRIDES}, "poolings and strides"),
        ({"strides": STRIDES, "kernels": ((3, 3, 3),)}, "--set kernels=: 1 are given, the network has 3 levels"),
        ({"filters": (4, 8)}, "--set filters=: 2 are given, the network has 7 levels"),
        ({"normalisation": ("zscore",) * 3}, "3 are given for 2 channels"),
    ],
)
def test_choices_that_contradict_are_refused(wishes, said):
    with pytest.raises(ValueError) as caught:
        plan(**wishes)
    assert said in str(caught.value)


@pytest.mark.parametrize("value", [float("inf"), [float("inf")] * 3])
@pytest.mark.parametrize("name", ["batch_size", "patch", "mirror_axes", "median_shape"])
def test_a_plan_with_infinity_is_refused_in_one_line(name, value):
    with pytest.raises(ValueError, match="is not a plan this version can use"):
        Plan.from_json(make_plan(PROSTATE, Wishes()).to_json() | {name: value})
