"""One tiny trained RUN and its OpenVINO BUNDLE, made once a session through the command line."""

import pytest

from decaseg.cli import call
from tests.synthetic import write_dataset

TINY = [
    "--set",
    "base_filters=4",
    "max_levels=3",
    "steps_per_epoch=4",
    "epochs=2",
    "validation_cases=1",
    "--threads",
    "1",
]

LEARNT = ["steps_per_epoch=30", "lr=0.01", "average_decay=0.9"]  # enough that fp16 tells nothing apart


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A folder with `data`, `run` and `bundle` (OpenVINO, fp32, gated); tests read them and write elsewhere."""
    root = tmp_path_factory.mktemp("tiny")
    write_dataset(root / "data")
    assert call(["train", f"{root}/data", "--out", f"{root}/run", *TINY, "--set", *LEARNT]) == 0
    arguments = ["--out", f"{root}/bundle", "--data", f"{root}/data", "--threads", "1"]
    assert call(["export", f"{root}/run", *arguments]) == 0
    return root
