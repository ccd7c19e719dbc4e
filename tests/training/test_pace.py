"""Measuring a machine's pace leaves no trace and grows with the work."""

from __future__ import annotations

import pytest
import torch

from decaseg.nets.spec import NetworkSpec
from decaseg.training import pace
from decaseg.training.pace import seconds_a_step


def spec(**more) -> NetworkSpec:
    shapes = {"filters": (4, 8), "strides": ((1, 1, 1), (2, 2, 2)), "kernels": ((3, 3, 3),) * 2}
    return NetworkSpec(in_channels=2, out_channels=3, **shapes, **more)


@pytest.mark.parametrize("saving", ["none", "samples"])
def test_random_numbers_go_on_as_if_nothing_had_been_measured(saving):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert seconds_a_step(spec(), (8, 8, 8), 2, saving, "cpu", "fp32") > 0
    assert torch.equal(torch.get_rng_state(), before)


def test_every_output_of_deep_supervision_is_trained(monkeypatch):
    made = []
    build = pace.build
    monkeypatch.setattr(pace, "build", lambda network: made.append(build(network)) or made[-1])
    steps = []
    monkeypatch.setattr(
        torch.nn.Module, "zero_grad", lambda self, **_: steps.append([p.grad for p in self.parameters()])
    )
    three = NetworkSpec(
        in_channels=1, out_channels=2, filters=(2, 4, 4), strides=((1, 1, 1), (2, 2, 2), (2, 2, 2)),
        kernels=((3, 3, 3),) * 3, deep_supervision=1,
    )  # fmt: skip
    seconds_a_step(three, (8, 8, 8), 1, "none", "cpu", "fp32")
    assert len(made) == 1 and len(steps) == 1 + pace.STEPS
    assert all(gradient is not None for gradients in steps for gradient in gradients)


def test_the_least_of_several_steps_counts_and_the_first_does_not(monkeypatch):
    ticks = iter([0, 1, 10, 14, 20, 22, 30, 33])  # steps of 1, 4, 2 and 3
    monkeypatch.setattr(pace.time, "perf_counter", lambda: next(ticks))
    assert seconds_a_step(spec(), (8, 8, 8), 1, "none", "cpu", "fp32") == pytest.approx(2 * pace.BESIDES)
