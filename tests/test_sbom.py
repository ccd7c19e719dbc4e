"""`make sbom`: the bill names what decaseg leads to and nothing else, and keeps to CycloneDX."""

from __future__ import annotations

import importlib.util
import json
from importlib import metadata
from pathlib import Path

import pytest

from decaseg.storage.files import sha256_of
from decaseg.storage.shipped import ROOT as MODELS

SCRIPT = Path(__file__).parents[1] / "docs" / "sbom.py"


@pytest.fixture(scope="module")
def sbom():
    spec = importlib.util.spec_from_file_location("sbom", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names(document) -> set[str]:
    return {part["name"] for part in document["components"] if part["type"] == "library"}


def test_it_holds_what_is_asked_for_and_no_tools(sbom):
    runtime, every = (names(sbom.document((extra,))) for extra in ("runtime", "all"))
    assert {"numpy", "nibabel", "typer", "rich", "openvino"} <= runtime < every
    assert {"torch", "onnx", "fastapi", "h5py"} <= every and not {"torch", "scipy"} & runtime
    assert not {"pytest", "ruff", "mypy", "monai", "simpleitk", "decaseg"} & every
    dev = names(sbom.document(("dev",)))
    assert {"pytest", "monai"} <= dev  # so the sort of requirement that leaves them out above is understood


def test_every_reference_leads_somewhere_and_is_the_installed_version(sbom):
    made = sbom.document(("all",))
    parts = [made["metadata"]["component"], *made["components"]]
    known = [part["bom-ref"] for part in parts]
    assert len(set(known)) == len(known) == len(made["dependencies"]) + len(list(MODELS.glob("*/model.json")))
    for entry in made["dependencies"]:
        assert {entry["ref"], *entry["dependsOn"]} <= set(known)
    reached, waiting = set(), [known[0]]
    needs = {entry["ref"]: entry["dependsOn"] for entry in made["dependencies"]}
    while waiting:
        if (name := waiting.pop()) not in reached:
            reached.add(name)
            waiting += needs.get(name, [])
    assert reached == set(known)  # nothing stands there unasked for
    for part in made["components"]:
        if part["type"] == "library":
            assert part["version"] == metadata.version(part["name"]) and "+" not in part["purl"]


def test_models_are_listed_with_their_sums(sbom):
    (found,) = (part for part in sbom.document(("runtime",))["components"] if part["name"] == "flair-whole-tumor")
    files = {file["name"]: file["hashes"][0]["content"] for file in found["components"]}
    name = "flair-whole-tumor/fp16/model.bin"
    assert files[name] == sha256_of(MODELS / name) and found["licenses"] == [{"license": {"name": "Apache-2.0"}}]


def test_the_same_environment_gives_the_same_bill(sbom, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    written = []
    for out in (tmp_path / "a.json", tmp_path / "b.json"):
        monkeypatch.setattr("sys.argv", ["sbom.py", "--extra", "runtime", "--out", str(out)])
        sbom.main()
        written.append(out.read_bytes())
    assert written[0] == written[1] and json.loads(written[0])["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"


def test_it_is_cyclonedx_as_its_schema_says(sbom):
    validation = pytest.importorskip("cyclonedx.validation.json", reason="needs cyclonedx-python-lib, of extra audit")
    schema = pytest.importorskip("cyclonedx.schema")
    validator = validation.JsonStrictValidator(schema.SchemaVersion.V1_6)
    made = sbom.document(("all",))
    assert validator.validate_str(json.dumps(made)) is None
    made["components"][0]["type"] = "nonsense"
    assert validator.validate_str(json.dumps(made)) is not None  # the validator can say no
