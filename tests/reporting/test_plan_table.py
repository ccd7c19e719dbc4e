"""Fingerprint and plan as a person reads them."""

import io
from dataclasses import replace

import pytest

from decaseg.planning.plan import make_plan
from decaseg.planning.wishes import Wishes
from decaseg.reporting.plan_table import SETTINGS, print_data, print_plan
from tests.planning.test_ten_tasks import fingerprint
from tests.tasks import TASKS


def shown(name, columns, monkeypatch, chosen=()):
    monkeypatch.setenv("COLUMNS", str(columns))
    facts, text = fingerprint(TASKS[name]), io.StringIO()
    print_data(facts, text)
    print_plan("the plan", replace(make_plan(facts, Wishes()), chosen=chosen), file=text)
    return text.getvalue()


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("name", TASKS)
def test_it_fits_the_terminal_and_names_every_number(name, columns, monkeypatch):
    text = shown(name, columns, monkeypatch)
    assert max(map(len, text.splitlines())) <= columns
    words = " ".join(text.split())
    assert all(row in words for row in SETTINGS)
    for option in ("--patch", "--spacing", "--batch-size", "--set poolings", "--set normalisation", "--channels"):
        assert option in words
    for structure in TASKS[name].structures:
        assert structure in words


def test_numbers_are_the_plans(monkeypatch):
    text = shown("Task07_Pancreas", 120, monkeypatch)
    assert "224 x 224 x 40 (180 x 180 x 100 mm)" in text and "clipped to -92 … 217, minus 80.4, over 72.7" in text
    assert "6; axes halved 5, 5, 3 times; 1 of them" in text and "0.803 x 0.803 x 2.5 mm" in text


def test_a_persons_choice_is_marked(monkeypatch):
    assert "chosen:" not in shown("Task04_Hippocampus", 120, monkeypatch)
    text = shown("Task04_Hippocampus", 120, monkeypatch, ("patch", "spacing_mm", "poolings", "memory"))
    for said in ("chosen: --patch", "chosen: --spacing", "chosen: --set poolings", "chosen: --memory"):
        assert said in text
