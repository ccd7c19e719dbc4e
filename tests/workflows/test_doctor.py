"""`decaseg doctor` on a machine with everything, and on one that has the runtime alone."""

import json

import pytest

from decaseg.cli import call
from decaseg.workflows import doctor
from tests.workflows.test_without_torch import without


def test_engines_precisions_and_times_are_told(monkeypatch, capsys):
    pytest.importorskip("openvino")
    monkeypatch.setattr(doctor, "EDGE", 32)
    assert call(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["engine torch"] == "works"
    assert found["engine openvino"].startswith("fp32, fp16")
    assert {"training step, fp32", "training step, bf16", "window, torch fp32", "window, openvino fp32"} <= set(found)


def test_the_runtime_alone_is_enough_and_what_is_missing_is_named():
    done = without("scipy,onnxruntime", "doctor", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["engine torch"] == "missing"
    assert found["engine openvino"].startswith("fp32, fp16")
    assert "training step, fp32" not in found
