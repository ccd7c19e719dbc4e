"""How many networks share a budget in minutes follows from how fast the machine is."""

from __future__ import annotations

import pytest

from decaseg.cli import call
from decaseg.storage.files import read_json
from decaseg.workflows import train
from tests.synthetic import write_dataset

WORDS = ["--recipe", "quick", "--set", "base_filters=4", "max_levels=2", "validation_cases=0", "--threads", "1"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("pace") / "data", shape=(16, 20, 16))


@pytest.mark.parametrize(("each_s", "members"), [(1e-2, 1), (9e-4, 3), (1e-6, 8)])
def test_a_slow_machine_trains_fewer_networks(data, tmp_path, monkeypatch, capsys, each_s, members):
    monkeypatch.setattr(train, "seconds_a_step", lambda *_: each_s)
    assert call(["train", f"{data}", "--out", f"{tmp_path}/run", *WORDS, "--minutes", "0.1"]) == 0
    assert read_json(tmp_path / "run" / "plan.json")["network"]["members"] == members
    assert f"networks to average: {members}" in capsys.readouterr().err


@pytest.mark.parametrize("more", [["members=2", "--minutes", "0.05"], ["--epochs", "1"]])
def test_nothing_is_measured_where_nothing_depends_on_it(data, tmp_path, monkeypatch, more):
    monkeypatch.setattr(train, "seconds_a_step", lambda *_: pytest.fail("measured"))
    words = ["train", f"{data}", "--out", f"{tmp_path}/run", *WORDS, "--set", "steps_per_epoch=2", *more]
    assert call(words) == 0


def test_the_real_measurement_decides_too(data, tmp_path, capsys):
    assert call(["train", f"{data}", "--out", f"{tmp_path}/run", *WORDS, "--minutes", "0.05"]) == 0
    said = next(line for line in capsys.readouterr().err.splitlines() if "s a step here" in line)
    members = read_json(tmp_path / "run" / "plan.json")["network"]["members"]
    assert said.endswith(f"networks to average: {members}") and 1 <= members <= 8
