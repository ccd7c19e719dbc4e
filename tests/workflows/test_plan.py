"""`decaseg plan`: tables, files and choices; and that `train` keeps the choices in the RUN."""

import json

import pytest

from decaseg.cli import call
from decaseg.planning.plan import Plan
from decaseg.recipes import Recipe
from decaseg.workflows import fitting
from tests.tasks import TASKS, write_task

WORDS = ["--spacing", "1", "1", "3", "--patch", "16", "16", "8", "--batch-size", "3", "--set", "poolings=2,2,1",
         "normalisation=ct:-160:240", "mirror=yz"]  # fmt: skip
CHOSEN = {"spacing_mm", "patch", "batch_size", "poolings", "normalisation", "mirror"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_task(tmp_path_factory.mktemp("plan"), TASKS["Task07_Pancreas"])


def test_files_and_tables(data, tmp_path, capsys):
    assert call(["plan", f"{data}", "--out", f"{tmp_path}/a"]) == 0
    text = capsys.readouterr().out
    assert "Pancreas: 6 training cases" in text and "the plan (recipe default)" in text and "chosen:" not in text
    plan = json.loads((tmp_path / "a" / "plan.json").read_text())
    assert json.loads(json.dumps(Plan.from_json(plan).to_json())) == plan and plan["chosen"] == []
    assert len(json.loads((tmp_path / "a" / "fingerprint.json").read_text())["cases"]) == 6
    assert call(["plan", f"{data}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["plan"] == plan


def test_choices_make_the_plan_and_are_kept_by_plan_and_train(data, tmp_path, capsys, monkeypatch):
    assert call(["plan", f"{data}", "--out", f"{tmp_path}/a", *WORDS]) == 0
    assert "chosen: --spacing" in " ".join(capsys.readouterr().out.split())
    plan = json.loads((tmp_path / "a" / "plan.json").read_text())
    assert set(plan["chosen"]) == CHOSEN
    assert plan["preprocessing"]["spacing_mm"] == [1, 1, 3] and plan["patch"] == [16, 16, 8] and plan["batch_size"] == 3
    assert plan["preprocessing"]["normalisation"][0]["low"] == -160 and plan["mirror_axes"] == [1, 2]
    assert plan["network"]["strides"] == [[1, 1, 1], [2, 2, 1], [2, 2, 2]]
    monkeypatch.setattr(fitting, "fit", lambda *_: True)
    run = ["train", f"{data}", "--out", f"{tmp_path}/run", *WORDS, "base_filters=4", "--threads", "1"]
    assert call(run) == 0
    trained = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert set(trained["chosen"]) == CHOSEN | {"base_filters"}
    assert {k: v for k, v in trained.items() if k not in ("network", "chosen", "saving")} == {
        k: v for k, v in plan.items() if k not in ("network", "chosen", "saving")
    }
    recipe = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert set(recipe["chosen"]) == CHOSEN | {"base_filters", "threads"}
    read = Recipe.from_json(recipe)
    assert read.spacing_mm == (1, 1, 3) and read.poolings == (2, 2, 1) and read.normalisation == ("ct:-160:240",)


def test_weights_that_settle_a_number_are_not_overruled(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(fitting, "fit", lambda *_: True)
    words = ["--threads", "1", "--patch", "16", "16", "8", "--set", "poolings=2,2,1", "base_filters=4"]
    assert call(["train", f"{data}", "--out", f"{tmp_path}/run", *words]) == 0
    capsys.readouterr()
    for option in (["--spacing", "1", "1", "1"], ["--set", "strides=1x1x1"], ["--set", "crop=false"]):
        assert call(["train", f"{data}", "--out", f"{tmp_path}/b", "--from", f"{tmp_path}/run", *option]) == 2
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert said.startswith("decaseg: --from: its weights know") and "leave" in said
