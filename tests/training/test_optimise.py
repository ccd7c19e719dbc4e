import copy

import pytest
import torch
from torch import nn

from decaseg.training.optimise import (
    OPTIMISERS,
    SCHEDULES,
    Average,
    Patience,
    Plateau,
    cosine,
    make_optimiser,
    one_cycle,
    poly,
)


def test_schedules_begin_and_end_where_they_should():
    assert one_cycle(0) == pytest.approx(0.04) and one_cycle(0.15) == pytest.approx(1) and one_cycle(1) == 0
    assert poly(0) == 1 and poly(0.5) == pytest.approx(0.5**0.9) and poly(1) == 0
    assert cosine(0) == 1 and cosine(0.5) == pytest.approx(0.5) and cosine(1) == pytest.approx(0)
    for schedule in SCHEDULES.values():
        assert all(0 <= schedule(i / 100) <= 1 for i in range(121))  # minutes may run a little over


@pytest.mark.parametrize("name", ["one_cycle", "poly", "cosine"])
def test_a_schedule_with_an_end_falls_there_from_the_same_peak_and_no_further(name):
    whole, part = ([SCHEDULES[name](i / 100, end) for i in range(121)] for end in (0.0, 0.3))
    assert max(part) == max(whole) == pytest.approx(1) and part[:16] == pytest.approx(whole[:16], rel=0.2)
    assert part[100:] == pytest.approx([0.3] * 21) and min(part[16:]) >= 0.3 - 1e-12
    assert all(high >= low for high, low in zip(part, whole, strict=True))


def test_one_cycle_rises_then_falls():
    rates = [one_cycle(i / 200) for i in range(201)]
    assert rates[:30] == sorted(rates[:30]) and rates[30:] == sorted(rates[30:], reverse=True)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_weight_decay_spares_norms_and_biases(name):
    model = nn.Sequential(nn.Conv3d(1, 2, 3), nn.InstanceNorm3d(2, affine=True))
    decayed, plain = make_optimiser(name, model, 0.1, 0.3).param_groups
    assert [p.ndim for p in decayed["params"]] == [5] and decayed["weight_decay"] == 0.3
    assert [p.ndim for p in plain["params"]] == [1, 1, 1] and plain["weight_decay"] == 0


def test_an_unknown_optimiser_lists_the_known():
    with pytest.raises(ValueError, match="adam, adamw, sgd"):
        make_optimiser("lion", nn.Linear(1, 1), 0.1, 0)


def test_the_average_follows_its_formula():
    model = nn.BatchNorm1d(1)
    average, expected = Average(model, decay=0.9), 1.0
    for n in range(1, 200):
        with torch.no_grad():
            model.weight.fill_(n)
        model.num_batches_tracked += 1
        average.update(model)
        decay = min(0.9, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * n
    assert float(average.values["weight"]) == pytest.approx(expected, rel=1e-5)
    assert int(average.values["num_batches_tracked"]) == 199
    assert float(model.weight.detach()) == 199  # the model itself is left alone


def test_plateau_halves_after_patience_and_remembers():
    plateau = Plateau(patience=2)
    for dice in (0.5, 0.5, 0.6, 0.6):
        plateau.see(dice)
    assert plateau.factor == 1
    again = Plateau(patience=2)
    again.load(copy.deepcopy(plateau.state()))
    for each in (plateau, again):
        each.see(0.55)
        assert each.factor == 0.5 and each.best == 0.6


def test_cosine_is_torchs():
    weight = nn.Parameter(torch.ones(1))
    optimiser = torch.optim.SGD([weight], lr=0.3)
    torchs = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=10)
    for step in range(11):
        assert optimiser.param_groups[0]["lr"] == pytest.approx(0.3 * cosine(step / 10), abs=1e-6)
        optimiser.step()
        torchs.step()


def test_patience_ends_after_so_many_validations_without_progress_and_remembers():
    patience = Patience(2, min_delta=0.01)
    for dice in (0.5, 0.52, 0.525):  # the last one is less than min_delta better
        patience.see(dice)
        assert not patience.over
    again = Patience(2, min_delta=0.01)
    again.load(copy.deepcopy(patience.state()))
    for each in (patience, again):
        each.see(0.53)
        assert each.over and each.best == 0.52
    patience.see(0.6)
    assert not patience.over
