"""The estimate of memory, what is chosen by it, and what is said when nothing fits."""

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decaseg.nets.savings import savings_for
from decaseg.nets.spec import NetworkSpec
from decaseg.nets.unet import build
from decaseg.planning.memory import least_saving, memory_gib, most_patches, parameters, refusal

ORIGINAL = NetworkSpec(
    in_channels=1, out_channels=1, filters=(16, 32, 64, 128, 256), strides=((1, 1, 1), *((2, 2, 2),) * 4),
    kernels=((3, 3, 3),) * 5, norm="batch", nonlinearity="relu", downsample="maxpool",
)  # fmt: skip
BIG = (144, 144, 144)
PRECISIONS = ("fp32", "bf16")


def test_the_originals_own_setting_needs_over_35_gb_without_saving_and_at_most_10_with():
    assert memory_gib(ORIGINAL, BIG, 8) * 2**30 > 35e9
    saving = least_saving(ORIGINAL, BIG, 8, 10e9 / 2**30, "fp32")
    assert saving == "down" and memory_gib(ORIGINAL, BIG, 8, saving) * 2**30 <= 10e9


@settings(max_examples=60, deadline=None)
@given(
    norm=st.sampled_from(["batch", "instance", "group", "none"]),
    residual=st.booleans(),
    steps=st.tuples(*[st.integers(2, 8)] * 3),
    batch=st.integers(2, 8),
    precision=st.sampled_from(PRECISIONS),
)
def test_more_needs_more_and_each_saving_less(norm, residual, steps, batch, precision):
    network = replace(ORIGINAL, norm=norm, residual=residual)
    patch = tuple(16 * n for n in steps)
    needs = {saving: memory_gib(network, patch, batch, saving, precision) for saving in savings_for(norm)}
    # The one sample that runs takes more with blocks than what down keeps of two or three: there down is smaller.
    apart = norm == "batch" and batch < 4
    for chain in (("none", "maps", "down"), ("none", "maps", "blocks", savings_for(norm)[-1])) if apart else (needs,):
        assert [needs[saving] for saving in chain] == sorted((needs[saving] for saving in chain), reverse=True)
    for saving in savings_for(norm):
        need = memory_gib(network, patch, batch, saving, precision)
        assert need < memory_gib(network, patch, batch + 1, saving, precision)
        assert need < memory_gib(network, (patch[0] + 16, *patch[1:]), batch, saving, precision)
        assert need < memory_gib(replace(network, filters=(32, 64, 128, 256, 320)), patch, batch, saving, precision)
        assert need >= memory_gib(network, patch, batch, saving, "bf16")


def test_the_fastest_saving_that_fits_is_taken():
    found = [least_saving(ORIGINAL, BIG, 8, limit, "fp32") for limit in (100, 12, 9.2, 9, 7, 3)]
    assert found == ["none", "maps", "down", "blocks", "half", None]


@pytest.mark.parametrize("residual", [False, True])
def test_weights_are_counted_to_a_tenth(residual):
    network = replace(ORIGINAL, residual=residual)
    assert parameters(network) == pytest.approx(sum(p.numel() for p in build(network).parameters()), rel=0.1)


@pytest.mark.parametrize("limit_gib", [1.2, 2.5, 5.0])
def test_a_refusal_names_numbers_and_what_it_offers_fits(limit_gib):
    words = refusal(SimpleNamespace(network=ORIGINAL, patch=BIG), 8, limit_gib, "fp32")
    assert f"{limit_gib:.1f} GiB may be used" in words and "8 patches of 144 x 144 x 144" in words
    for saving in savings_for("batch"):
        assert f"{memory_gib(ORIGINAL, BIG, 8, saving):.1f} GiB with" in words
    offered = re.search(r"--patch (\d+) (\d+) (\d+)", words)
    patch = tuple(map(int, offered.groups()))
    assert all(n % 16 == 0 for n in patch) and least_saving(ORIGINAL, patch, 8, limit_gib, "fp32")
    batch = re.search(r"--batch-size (\d+)", words)
    fits = most_patches(ORIGINAL, BIG, 8, limit_gib, "fp32")
    assert (int(batch[1]) if batch else 0) == fits and least_saving(ORIGINAL, BIG, fits + 1, limit_gib, "fp32") is None
    memory = float(re.search(r"--memory ([\d.]+)", words)[1])
    assert least_saving(ORIGINAL, BIG, 8, memory, "fp32") == "half"
