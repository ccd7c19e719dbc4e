"""Tiny trained RUNs and an OpenVINO BUNDLE, made once a session through the command line."""

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


TUMOUR = ("edema", "non-enhancing tumor", "enhancing tumour")
CHANNELS = ("FLAIR", "T1w", "t1gd", "T2w")
SMALL = ["--set", "base_filters=4", "max_levels=2", "steps_per_epoch=3", "epochs=1", "--threads", "1", "--patch", "16",
         "16", "16", "--device", "cpu"]  # fmt: skip


@pytest.fixture(scope="session")
def msd(tmp_path_factory):
    """A data set of four channels and three labels, as Task01's."""
    root = tmp_path_factory.mktemp("tumours") / "msd"
    return write_dataset(root, cases=6, shape=(18, 20, 16), labels=TUMOUR, channels=CHANNELS)


@pytest.fixture(scope="session")
def run(msd):
    """A network trained on it for three steps."""
    folder = msd.parent / "run"
    assert call(["train", f"{msd}", "--out", f"{folder}", *SMALL]) == 0
    return folder
