"""What the documentation shows is what the program does."""

import json
import re
import sys
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from decaseg.losses import LOSSES
from decaseg.nets.spec import DOWNSAMPLING, NONLINEARITIES, NORMS, UPSAMPLING
from decaseg.recipes import Recipe
from decaseg.training.optimise import OPTIMISERS, SCHEDULES
from tests.test_cli import COMMANDS

ROOT = Path(__file__).parents[1]
HOW_TO = ROOT / "docs" / "how-to"
PAGES = [
    ROOT / "README.md",
    ROOT / "SECURITY.md",
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("benchmarks/**/*.md")),
]
EVENTS = [
    {"event": "start", "time": 1.0, "step": 0},
    {"event": "epoch", "time": 2.0, "step": 10, "epoch": 1, "train_loss": 0.5, "lr": 0.1, "samples_per_s": None},
    {"event": "validation", "time": 3.0, "step": 10, "mean_dice": 0.75, "dice": {"a": 0.8, "b": 0.7}},
    {"event": "end", "time": 4.0, "step": 10},
]


def settings_table():
    """Setting -> the default that docs/how-to/train.md gives it, as text."""
    table = (HOW_TO / "train.md").read_text().split("## `--set`")[1].split("##")[0]
    found = {}
    for row in re.findall(r"^\| (`.*?) \| (.*?) \|", table, re.MULTILINE):
        names, values = re.findall(r"`(\w+)`", row[0]), row[1].split(", ")
        found |= dict(zip(names, values * len(names) if len(values) == 1 else values, strict=False))
    return found


def test_every_setting_is_in_the_guide_with_its_default():
    table, recipe = settings_table(), Recipe()
    assert set(table) == {field.name for field in fields(Recipe)} - {"name"}
    for name, text in table.items():
        assert recipe.with_settings({name: text}) == recipe, f"{name}: the guide says {text}"


@pytest.mark.parametrize(
    "choices",
    [LOSSES, OPTIMISERS, SCHEDULES, NORMS, DOWNSAMPLING, UPSAMPLING, NONLINEARITIES],
    ids=lambda c: next(iter(c)),
)
def test_every_choice_is_in_the_guide(choices):
    words = set(re.findall(r"\w+", (HOW_TO / "train.md").read_text()))
    assert set(choices) <= words


@pytest.mark.parametrize("tracker", ["mlflow", "wandb"])
def test_the_scripts_for_trackers_run(tracker, tmp_path, monkeypatch):
    """With a stand-in for the tracker, which is no dependency: what it is told is what the log holds."""
    blocks = re.findall(r"```python\n(.*?)```", (HOW_TO / "track-with-mlflow.md").read_text(), re.DOTALL)
    script = next(block for block in blocks if f"import {tracker}" in block)
    (tmp_path / "recipe.json").write_text(json.dumps(Recipe().to_json()))
    lines = "".join(json.dumps(event) + "\n" for event in EVENTS)
    (tmp_path / "log.jsonl").write_text(lines[:-40])  # the rest comes while it waits
    told = []

    @contextmanager
    def opened(**words):
        told.append(words)
        yield SimpleNamespace(log=lambda values, step: told.append((values, step)))

    stand_in = ModuleType(tracker)
    stand_in.start_run = stand_in.init = opened
    stand_in.log_params = lambda values: told.append(values)
    stand_in.log_metrics = lambda values, step: told.append((values, step))
    monkeypatch.setitem(sys.modules, tracker, stand_in)
    monkeypatch.setattr(sys, "argv", ["follow.py", str(tmp_path)])
    monkeypatch.setattr("time.sleep", lambda seconds: (tmp_path / "log.jsonl").write_text(lines))
    exec(compile(script, "follow.py", "exec"), {"__name__": "__main__"})
    (epoch, epoch_step), (validation, validation_step) = told[-2:]
    assert epoch_step == validation_step == 10
    if tracker == "mlflow":
        assert told[1]["loss"] == "dice_ce"
        assert epoch == {"epoch": 1, "train_loss": 0.5, "lr": 0.1}
        assert validation == {"mean_dice": 0.75, "dice/a": 0.8, "dice/b": 0.7}
    else:
        assert told[0]["config"]["loss"] == "dice_ce"
        assert epoch["epoch"]["train_loss"] == 0.5 and validation["validation"]["dice"]["b"] == 0.7


def name(page):
    return str(page.relative_to(ROOT))


def headings(page):
    """The anchors of its headings, as GitHub makes them."""
    lines = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", re.sub(r"\[(.*?)\]\(.*?\)", r"\1", line).lower()).replace(" ", "-") for line in lines
    }


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        place, _, anchor = link.partition("#")
        if place.startswith(("http:", "https:", "mailto:")):
            continue
        target = page.parent / place if place else page
        assert target.exists(), link
        assert not anchor or anchor in headings(target), link


def test_every_page_and_decision_stands_in_the_table_of_contents():
    told = (ROOT / "docs" / "README.md").read_text()
    pages = [
        *HOW_TO.glob("*.md"),
        *(ROOT / "docs" / "decisions").glob("*.md"),
        *(ROOT / "docs" / "explanation").glob("*.md"),
    ]
    missing = [name(page) for page in pages if f"/{page.name}" not in told]
    assert not set(missing) - {"docs/how-to/track-with-mlflow.md"}, missing  # which train.md leads to


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "docs" / "tutorial.md", *sorted(HOW_TO.glob("*.md"))], ids=name
)
def test_commands_have_the_options_that_are_shown(page):
    known = {
        words: {o for p in command.params for o in (*p.opts, *p.secondary_opts)} for words, command in COMMANDS.items()
    }
    for line in re.findall(r"^(?:.*&& )?decaseg ([a-z][^#\n]+)", page.read_text().replace("\\\n", " "), re.MULTILINE):
        words = line.split()
        options = known.get((words[0],)) or known[(words[0], words[1])]
        shown = {word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)}
        assert shown <= options | {"--help", "--debug"}, line
