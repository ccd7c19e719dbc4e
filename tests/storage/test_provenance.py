"""A record that is handed on names no folder: neither of the data, nor of the RUN that a training went on from."""

from __future__ import annotations

import json

from decaseg.storage.provenance import without_folders


def test_no_folder_of_a_fine_tuned_run_is_handed_on():
    record = {
        "command": ["decaseg", "train", "/patients/anna", "--from", "/home/anna/run"],
        "dataset": "/patients/anna",
        "start": {"run": "/home/anna/run", "dataset": "BRATS", "weights_sha256": "12ab", "heads": "taken over"},
    }
    told = without_folders(record)
    assert "/" not in json.dumps(told)
    assert told["start"] == {"run": "run", "dataset": "BRATS", "weights_sha256": "12ab", "heads": "taken over"}
    assert record["start"]["run"] == "/home/anna/run"


def test_a_run_from_chance_has_no_start():
    assert without_folders({"start": None, "dataset": "x"}) == {"start": None, "dataset": "x"}
