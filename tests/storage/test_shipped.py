"""A model of the package is found by name, and never hides a file of that name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from decaseg.storage.shipped import Shipped, folder_of, known_names, shipped


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "models" / "flair"
    for part in ("run", "fp16", "int8"):
        (folder / part).mkdir(parents=True)
    for part in ("fp16", "int8"):
        (folder / part / "bundle.json").write_text("{}")
    (folder / "model.json").write_text(json.dumps({"licence": "Apache-2.0"}))
    (tmp_path / "models" / "half").mkdir()  # no model.json: not there
    return tmp_path / "models"


def test_names_stand_for_folders(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert folder_of(Path("flair"), root=root) == root / "flair" / "fp16"
    assert folder_of(Path("flair"), run=True, root=root) == root / "flair" / "run"
    assert folder_of(Path("flair/int8"), root=root) == root / "flair" / "int8"
    assert folder_of(Path("flair/run"), root=root) == root / "flair" / "run"


@pytest.mark.parametrize(
    "name", ["half", "other", "flair/fp32", "flair/../half", "/flair", "flair/int8/model.xml", "."]
)
def test_other_paths_stand_for_themselves(root, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert folder_of(Path(name), root=root) is None


def test_a_folder_of_that_name_comes_first(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flair").mkdir()
    assert folder_of(Path("flair"), root=root) is None


def test_what_there_is(root):
    assert shipped(root) == {"flair": Shipped(root / "flair")}
    assert shipped(root)["flair"].precisions() == ["fp16", "int8"]
    assert shipped(root)["flair"].facts()["licence"] == "Apache-2.0"
    assert known_names(root) == "flair"
    assert known_names(root / "flair") == "none"
