import pytest

from decaseg.benchmarking.conclusions import conclusions
from decaseg.benchmarking.results import Timed, result_of

WOBBLE = [1.0, 1.02, 0.98, 1.01, 0.99, 1.0, 1.03]
VNNI = ["AVX-512 VNNI"]


def timed(name, seconds, precision="fp32", stored=None, engine="openvino", dice=None, wobble=WOBBLE):
    facts = {"engine": engine, "precision": precision, "stored": stored, "window": [1, 8, 8, 8], "warnings": []}
    one = Timed(name, name, facts)
    one.windows_s = [seconds / 10 * w for w in wobble]
    one.cases_s = [seconds * w for w in wobble]
    one.network_s, one.windows_a_case = [seconds * 0.9] * len(wobble), [8] * len(wobble)
    one.dice = {f"case{i}": {"a": d} for i, d in enumerate(dice or ())}
    return one


def said(models, instructions=VNNI):
    return conclusions([result_of(one, models[0]) for one in models], instructions)


def test_int8_that_is_faster_than_everything_pays():
    models = [timed("fp32", 2.0), timed("bf16", 1.0, "bf16"), timed("int8", 0.5, stored="int8")]
    bf16, int8 = said(models)
    assert bf16.startswith("bf16 pays on this machine: bf16 is 2.00") and "as fast as fp32" in bf16
    assert int8.startswith("int8 pays on this machine: int8 is 2.00") and "as fast as bf16" in int8


def test_int8_that_something_else_beats_does_not_pay_and_says_what_to_use():
    models = [timed("fp32", 2.0), timed("bf16", 0.5, "bf16"), timed("int8", 1.0, stored="int8")]
    sentence = said(models, ["AVX2"])[-1]
    assert "int8 does not pay on this machine" in sentence and "use bf16" in sentence and "neither VNNI" in sentence
    assert "VNNI" not in said(models)[-1]


def test_where_chance_could_decide_it_says_so():
    uneven = [0.7, 1.3, 0.8, 1.5, 0.6, 1.4, 1.0]
    models = [timed("fp32", 1.0), timed("int8", 1.0, stored="int8", wobble=uneven)]
    assert "It is open whether int8 pays" in said(models)[0]


def test_what_it_costs_in_dice_is_said_with_it():
    models = [timed("fp32", 2.0, dice=[0.9, 0.8, 0.85]), timed("int8", 0.5, stored="int8", dice=[0.899, 0.799, 0.849])]
    assert "Its Dice is 0.0010 lower (95 % interval of the drop 0.0010 to 0.0010, n = 3)" in said(models)[0]


def test_bf16_is_compared_within_its_own_engine_and_fp32_with_nothing():
    assert said([timed("fp32", 2.0), timed("torch", 1.0, engine="torch")]) == []
    assert said([timed("fp32", 2.0), timed("bf16", 1.0, "bf16", engine="torch")]) == []


def test_a_restless_machine_and_a_model_that_does_not_wait_quietly_are_named():
    restless = timed("fp32", 1.0, wobble=[1, 2, 1, 3, 1, 2.5, 1])
    restless.idle_s, restless.idle_cpu_s = 10.0, 5.0
    sentences = said([restless])
    assert "busy with other things" in sentences[0] and "Repeat it" in sentences[0]
    assert "fp32 took 50% of a processor while others had their turn" in sentences[1]


def test_the_first_model_is_the_measure_of_the_others():
    first, other = timed("a", 2.0, dice=[0.9, 0.7]), timed("b", 1.0, dice=[0.8, 0.7])
    result = result_of(other, first)
    assert result.case_ratio.median == pytest.approx(2) and result.dice_drop.mean == pytest.approx(0.05)
    assert result.network_share == pytest.approx(0.9 * 7 / sum(WOBBLE))
    assert result.windows_per_s == pytest.approx(1 / result.window_s.median)


def test_no_difference_in_dice_is_not_called_one():
    models = [timed("fp32", 2.0, dice=[0.9, 0.8]), timed("int8", 0.5, stored="int8", dice=[0.90001, 0.79999])]
    assert "Its Dice is the same to four places (95 % interval of the drop 0.0000 to 0.0000" in said(models)[0]
